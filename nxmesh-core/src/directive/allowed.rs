//! Which directives may be named where.
//!
//! Each of these only tunes how requests are handled. What loads code, reads or
//! writes files, changes the user or the process model, nests blocks, or is
//! rendered from fields of the API, is not here.

use crate::Malformed;

/// Where a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In the `http` block: for all virtual hosts.
    Http,
    /// In a `server` block: for one virtual host.
    Server,
    /// In a `location` block.
    Location,
}

/// nginx takes these in `http`, `server` and `location`.
#[rustfmt::skip]
const EVERYWHERE: &[&str] = &[
    "absolute_redirect", "allow", "auth_request", "charset", "charset_types", "chunked_transfer_encoding",
    "client_body_buffer_size", "client_body_timeout", "client_max_body_size", "default_type", "deny",
    "error_page", "etag", "expires", "gunzip", "gzip", "gzip_buffers", "gzip_comp_level", "gzip_disable",
    "gzip_http_version", "gzip_min_length", "gzip_proxied", "gzip_types", "gzip_vary", "if_modified_since",
    "keepalive_requests", "keepalive_time", "keepalive_timeout", "limit_conn", "limit_conn_dry_run",
    "limit_conn_log_level", "limit_conn_status", "limit_rate", "limit_rate_after", "limit_req",
    "limit_req_dry_run", "limit_req_log_level", "limit_req_status", "lingering_close", "lingering_time",
    "lingering_timeout", "log_not_found", "max_ranges", "msie_padding", "open_file_cache",
    "open_file_cache_errors", "open_file_cache_min_uses", "open_file_cache_valid", "output_buffers",
    "port_in_redirect", "postpone_output", "proxy_buffer_size", "proxy_buffering", "proxy_buffers",
    "proxy_busy_buffers_size", "proxy_connect_timeout", "proxy_cookie_domain", "proxy_cookie_flags",
    "proxy_cookie_path", "proxy_force_ranges", "proxy_hide_header", "proxy_ignore_client_abort",
    "proxy_ignore_headers", "proxy_intercept_errors", "proxy_limit_rate", "proxy_max_temp_file_size",
    "proxy_next_upstream", "proxy_next_upstream_timeout", "proxy_next_upstream_tries", "proxy_pass_header",
    "proxy_pass_request_body", "proxy_pass_request_headers", "proxy_read_timeout", "proxy_redirect",
    "proxy_request_buffering", "proxy_send_lowat", "proxy_send_timeout", "proxy_socket_keepalive",
    "proxy_ssl_ciphers", "proxy_ssl_name", "proxy_ssl_protocols", "proxy_ssl_server_name",
    "proxy_ssl_session_reuse", "proxy_ssl_verify_depth", "proxy_temp_file_write_size", "read_ahead",
    "real_ip_header", "real_ip_recursive", "recursive_error_pages", "reset_timedout_connection", "resolver",
    "resolver_timeout", "satisfy", "send_lowat", "send_timeout", "sendfile", "sendfile_max_chunk",
    "server_name_in_redirect", "server_tokens", "set_real_ip_from", "tcp_nodelay", "tcp_nopush",
];

/// nginx takes these in `http` and `server` only.
#[rustfmt::skip]
const HTTP_AND_SERVER: &[&str] = &[
    "client_header_buffer_size", "client_header_timeout", "http2_body_preread_size", "http2_chunk_size",
    "http2_max_concurrent_streams", "ignore_invalid_headers", "large_client_header_buffers", "merge_slashes",
    "request_pool_size", "ssl_buffer_size", "ssl_ciphers", "ssl_early_data", "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers", "ssl_protocols", "ssl_session_cache", "ssl_session_tickets",
    "ssl_session_timeout", "underscores_in_headers",
];

/// nginx takes these in `http` only.
const HTTP_ONLY: &[&str] = &["limit_conn_zone", "limit_req_zone"];

impl Context {
    pub(super) fn check(self, name: &str) -> Result<(), Malformed> {
        if is_name(name) && self.allowed().any(|it| it == name) {
            return Ok(());
        }
        Err(Malformed::forbidden(self.reason(name)))
    }

    /// Those that may stand here.
    pub(crate) fn allowed(self) -> impl Iterator<Item = &'static str> {
        let (outer, outermost) = match self {
            Self::Http => (HTTP_AND_SERVER, HTTP_ONLY),
            Self::Server => (HTTP_AND_SERVER, &[][..]),
            Self::Location => (&[][..], &[][..]),
        };
        EVERYWHERE.iter().chain(outer).chain(outermost).copied()
    }

    fn reason(self, name: &str) -> String {
        let elsewhere = match self {
            Self::Http => None,
            Self::Server => HTTP_ONLY.contains(&name).then_some("the settings of the workspace"),
            Self::Location if HTTP_ONLY.contains(&name) => Some("the settings of the workspace"),
            Self::Location => HTTP_AND_SERVER
                .contains(&name)
                .then_some("the virtual host or the settings of the workspace"),
        };
        match (elsewhere, name) {
            (Some(place), _) => format!("may not stand here; it may in {place}"),
            (None, "add_header" | "proxy_set_header") => "may not be named: use custom_headers".to_owned(),
            (None, "rewrite" | "return") => "may not be named: use rewrite_rules".to_owned(),
            (None, _) => "may not be named: it is not one of the directives that only tune how requests are handled".to_owned(),
        }
    }
}

/// Whether nginx could have a directive of this name at all.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
