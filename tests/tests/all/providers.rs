//! Users of another system: a Hypothesis server says who they are by their
//! profile. Here it is another cluster, which serves one.

use serde_json::{Value, json};
use tests::hypothesis::userid;
use tests::{Fleet, Upgrade, until};

/// Whom a gateway takes the holder of this token for, or the status with which
/// it refuses the handshake.
async fn whoami(fleet: &Fleet, token: &str) -> Result<Value, u16> {
    let address = fleet.gateway(0).address();
    let upgrade = Upgrade::to(&format!("ws://{address}/ws?access_token={token}"));
    let mut socket = upgrade.open().await.map_err(|refusal| refusal.status())?;
    socket.say(r#"{"type":"whoami","id":1}"#).await;
    Ok(socket.json().await["userid"].take())
}

/// The same over HTTP.
async fn profile(fleet: &Fleet, token: &str) -> Result<Value, u16> {
    let path = "/api/profile";
    let answer = fleet.annotation_api("GET", path, Some(token), None).await;
    match answer.status {
        200 => Ok(serde_json::from_slice::<Value>(&answer.body).unwrap()["userid"].take()),
        status => Err(status),
    }
}

#[tokio::test]
async fn users_of_another_server_are_known_and_while_it_is_down_never_taken_for_nobody() {
    let provider = Fleet::of(0, 0).start().await;
    let url = format!("http://{}/api/profile", provider.api().address());
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_AUTH_CHAIN", "profile")
        .env("CARILLON_AUTH_TENANT", "acme")
        .env("CARILLON_AUTH_PROFILE_URL", &url)
        .start()
        .await;
    let (ada, ben) = (provider.person("ada").await, provider.person("ben").await);
    for token in [&ada, &ben] {
        fleet.secrets().keep(token);
    }
    assert_eq!(whoami(&fleet, &ada).await, Ok(json!(userid("ada"))));
    assert_eq!(profile(&fleet, &ada).await, Ok(json!(userid("ada"))));
    assert_eq!(whoami(&fleet, "made-up").await, Ok(Value::Null));

    provider.api().kill();
    assert_eq!(whoami(&fleet, &ben).await, Err(503));
    assert_eq!(profile(&fleet, &ben).await, Err(503));
    // What it said of her a moment ago holds.
    assert_eq!(whoami(&fleet, &ada).await, Ok(json!(userid("ada"))));

    provider.api().start().await;
    until("the provider is asked again", async || {
        whoami(&fleet, &ben).await == Ok(json!(userid("ben")))
    })
    .await;

    // Gone here is gone, whatever the provider says.
    fleet.delete_user("ada").await;
    assert_eq!(whoami(&fleet, &ada).await, Ok(Value::Null));
}
