//! Time-limited HMAC credentials for TURN, the labels sealed into owner names, and their REST surface.
