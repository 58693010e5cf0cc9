//! A login does not tell by its time whether somebody has an account.

use std::time::Instant;

use anyhow::{Result, ensure};
use nxmesh_benches::ServerProcess;
use serde_json::json;

/// How many pairs of logins are compared.
const PAIRS: usize = 60;
/// The median time for an unknown address, as a part of the one for a known address.
const BOUND: std::ops::RangeInclusive<f64> = 0.8..=1.25;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Pairs are compared, not times: whatever else the machine does meets both of a pair alike, and
/// the median of the ratios does not move for the few that it meets alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_takes_as_long_for_an_unknown_address() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path()).await?;
    // The client brings what TLS is made with.
    let _ = server.client().await?;
    let http = reqwest::Client::builder().build()?;
    let url = format!("{}/v1/auth/login", server.http());
    let login = async |email: &str| -> Result<f64> {
        let body = json!({"email": email, "password": "wrong horse battery"}).to_string();
        let began = Instant::now();
        let answer = http.post(&url).body(body).send().await?;
        ensure!(answer.status() == 401, "{}", answer.status());
        answer.bytes().await?;
        Ok(began.elapsed().as_secs_f64())
    };
    // The connection is made, and the pages of the hash are there.
    login("nobody@example.com").await?;
    let (mut known, mut unknown, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let nobody = format!("nobody{pair}@example.com");
        // Each comes first in half of the pairs.
        let (of_known, of_unknown) = if pair % 2 == 0 {
            let of_known = login(ServerProcess::EMAIL).await?;
            (of_known, login(&nobody).await?)
        } else {
            let of_unknown = login(&nobody).await?;
            (login(ServerProcess::EMAIL).await?, of_unknown)
        };
        known.push(of_known);
        unknown.push(of_unknown);
        ratios.push(of_unknown / of_known);
    }
    let ratio = median(ratios);
    let (known, unknown) = (median(known) * 1e3, median(unknown) * 1e3);
    println!("known {known:.1} ms, unknown {unknown:.1} ms, median of ratios {ratio:.3}");
    assert!(BOUND.contains(&ratio), "{ratio:.3}: known {known:.1} ms, unknown {unknown:.1} ms");
    Ok(())
}
