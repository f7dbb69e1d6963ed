//! A workload written with the crate `spiffe`. Prints its X509-SVID's ID as JSON.

use spiffe::WorkloadApiClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: rust-client SOCKET")?;
    let client = WorkloadApiClient::connect_to(format!("unix:{socket}")).await?;
    let svid = client.fetch_x509_svid().await?;
    println!("{{\"id\":\"{}\"}}", svid.spiffe_id());
    Ok(())
}
