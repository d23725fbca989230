//! The grammar of names in the file: DNS zones, realms, ids.

/// Longest zone in characters: `<63 characters>.a.<zone>` must still be a DNS name (253).
const ZONE_MAX: usize = 253 - 63 - ".a.".len();

/// Longest id of an API key or a region, in characters.
const ID_MAX: usize = 64;

/// A DNS name without a final dot, in lower case, short enough for a label and a lane before it.
pub(super) fn zone(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > ZONE_MAX {
        return Err("it is longer than 187 characters");
    }
    if !name.contains('.') {
        return Err("it has only one label");
    }
    name.split('.').try_for_each(dns_label)?;
    Ok(name.to_ascii_lowercase())
}

fn dns_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() || label.len() > 63 {
        return Err("each part between dots has 1 to 63 characters");
    }
    if !label
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err("it may hold letters a-z, digits, hyphens and dots");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("no part begins or ends with a hyphen");
    }
    Ok(())
}

/// The id of an API key or a region: it shows in logs and metrics.
pub(super) fn id(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > ID_MAX {
        return Err("it has 1 to 64 characters");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.bytes().all(fits) {
        return Err("it may hold letters a-z, digits, hyphens, underscores and dots");
    }
    Ok(text.to_owned())
}
