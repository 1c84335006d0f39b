//! What tidelock knows of sessions: it cannot be forged, a reload does not lose it, and a drain says the truth about it.

mod close;
mod forged;
mod identity;
mod leaving;
mod logins;
mod model;
mod odd_ids;
mod pins;
mod sequences;
mod stand;
mod unconnected;
mod upgrading;
