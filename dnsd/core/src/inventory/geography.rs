//! Where regions lie on the globe, which are near, and which takes whom.

use std::collections::BTreeMap;

use super::{Continent, Country, Region, RegionId};

/// A place on the globe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

/// No place on the globe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a latitude is -90 to 90 degrees, a longitude -180 to 180")]
pub struct BadCoordinates;

impl Coordinates {
    /// A place by its latitude, -90 to 90 degrees, and its longitude, -180 to 180.
    ///
    /// # Errors
    /// Outside of that.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, BadCoordinates> {
        let fits = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        fits.then_some(Self {
            latitude,
            longitude,
        })
        .ok_or(BadCoordinates)
    }

    /// As a direction from the middle of the globe: of length 1.
    fn direction(self) -> [f64; 3] {
        let (latitude, longitude) = (self.latitude.to_radians(), self.longitude.to_radians());
        let flat = latitude.cos();
        [
            flat * longitude.cos(),
            flat * longitude.sin(),
            latitude.sin(),
        ]
    }

    /// A number that is the larger, the farther two places are apart along a great circle: the
    /// square of the straight way through the ground.
    pub fn apart(self, other: Self) -> f64 {
        let (here, there) = (self.direction(), other.direction());
        let axes = here.iter().zip(there);
        axes.map(|(a, b)| (a - b).powi(2)).sum()
    }
}

/// The regions that may serve the clients of the one at `own`, itself first: its fallbacks as they
/// are listed, else all others, the nearest first and of equally near ones the first configured.
pub(super) fn reach(regions: &[Region], own: usize) -> Vec<usize> {
    let region = &regions[own];
    let find = |id: &RegionId| regions.iter().position(|other| other.id == *id);
    let others = match &region.fallback {
        Some(listed) => listed.iter().filter_map(find).collect(),
        None => by_distance(regions, own),
    };
    std::iter::once(own).chain(others).collect()
}

fn by_distance(regions: &[Region], own: usize) -> Vec<usize> {
    let others = regions
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != own);
    let apart = |other: &Region| Some(other.coordinates?.apart(regions[own].coordinates?));
    let mut others: Vec<_> = others
        .filter_map(|(index, other)| Some((apart(other)?, index)))
        .collect();
    others.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    others.into_iter().map(|(_, index)| index).collect()
}

/// Which region takes whom a database of places puts somewhere.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    countries: BTreeMap<Country, usize>,
    continents: BTreeMap<Continent, usize>,
    placed: Vec<(usize, Coordinates)>,
}

impl Rules {
    /// The rules of these regions.
    pub fn new(regions: &[Region]) -> Self {
        let mut rules = Self::default();
        for (index, region) in regions.iter().enumerate() {
            let countries = region.countries.iter().map(|country| (*country, index));
            rules.countries.extend(countries);
            let continents = region
                .continents
                .iter()
                .map(|continent| (*continent, index));
            rules.continents.extend(continents);
            let placed = region.coordinates.map(|coordinates| (index, coordinates));
            rules.placed.extend(placed);
        }
        rules
    }

    /// The region that takes a client, as a place in the list: that of its country, else of its
    /// continent, else the nearest.
    pub fn region(
        &self,
        country: Option<Country>,
        continent: Option<Continent>,
        at: Option<Coordinates>,
    ) -> Option<usize> {
        let by_country = country.and_then(|country| self.countries.get(&country));
        let by_continent = || continent.and_then(|continent| self.continents.get(&continent));
        let by_place = || {
            let placed = self.placed.iter();
            let mut placed = placed.filter_map(|(index, place)| Some((place.apart(at?), index)));
            let first = placed.next()?;
            let nearest = placed.fold(
                first,
                |best, next| if next.0 < best.0 { next } else { best },
            );
            Some(nearest.1)
        };
        by_country.or_else(by_continent).or_else(by_place).copied()
    }
}
