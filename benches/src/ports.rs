use std::net::TcpListener;

/// A port that was free a moment ago, below those that the machine gives to clients: one of these
/// could take it meanwhile.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}
