use nxmesh_core::gateway::{NewLocation, NewRegistrationToken, NewVirtualHost};

/// A virtual host on port 80 that serves files.
#[must_use]
pub fn files_host(name: &str) -> NewVirtualHost {
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    NewVirtualHost {
        name: name.into(),
        server_name: name.into(),
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    }
}

/// A token for an agent, good for an hour.
#[must_use]
pub fn agent_token(name: &str) -> NewRegistrationToken {
    NewRegistrationToken { name: name.into(), labels: Default::default(), expires_in_hours: 1 }
}
