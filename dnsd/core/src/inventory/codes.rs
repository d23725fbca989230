//! Codes of countries and continents, as databases of places and configurations write them.

use std::fmt;
use std::str::FromStr;

/// Every code of ISO 3166-1, and XK, which it leaves to its users and all of them use for Kosovo.
const COUNTRIES: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH \
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT \
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS \
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI \
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG \
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG \
UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";
/// Africa, Antarctica, Asia, Europe, North America, Oceania, South America.
const CONTINENTS: &str = "AF AN AS EU NA OC SA";

/// Nothing has this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing has this code")]
pub struct UnknownCode;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident of $list:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 2]);

        impl FromStr for $name {
            type Err = UnknownCode;

            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                let mut known = $list.split(' ');
                let code = known.find(|code| *code == text).ok_or(UnknownCode)?;
                <[u8; 2]>::try_from(code.as_bytes()).map(Self).map_err(|_| UnknownCode)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(str::from_utf8(&self.0).unwrap_or_default())
            }
        }
    };
}

codes!(
    /// A country: two capital letters, as in ISO 3166-1.
    Country of COUNTRIES
);
codes!(
    /// A continent: AF, AN, AS, EU, NA, OC or SA.
    Continent of CONTINENTS
);
