//! A record folder as it is found.
