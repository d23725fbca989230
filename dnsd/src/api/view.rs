//! The relays with their verdicts as JSON, for the control socket and the admin listener alike.

use liveness::{NodeId, RelayId};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::control::{Input, Known};

/// The control loop has ended.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the daemon is ending")]
pub struct Ending;

/// Asks the control loop.
#[derive(Debug, Clone)]
pub struct View {
    /// This daemon's name.
    pub node: NodeId,
    /// The control loop.
    pub inputs: mpsc::Sender<Input>,
}

impl View {
    /// Every relay.
    pub async fn all(&self) -> Result<Value, Ending> {
        let Known { serial, relays } = self.ask(None).await?;
        Ok(json!({ "node": self.node.as_str(), "serial": serial, "relays": relays }))
    }

    /// One relay, if it is configured.
    pub async fn one(&self, relay: RelayId) -> Result<Option<Value>, Ending> {
        Ok(self.ask(Some(relay)).await?.relays.pop())
    }

    async fn ask(&self, relay: Option<RelayId>) -> Result<Known, Ending> {
        let (reply, known) = oneshot::channel();
        self.inputs
            .send(Input::Explain { relay, reply })
            .await
            .map_err(|_| Ending)?;
        known.await.map_err(|_| Ending)
    }
}
