//! The relays with their verdicts as JSON, for the control socket and the admin listener alike.

use std::sync::Arc;
use std::time::Instant;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use liveness::{NodeId, RelayId};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::clock;
use crate::control::{Known, Question};
use crate::history::{Span, Told};
use crate::limits::STATUS_AGE;

/// The control loop has ended.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the daemon is ending")]
pub struct Ending;

/// Every relay, as JSON that is ready to be sent.
#[derive(Debug, Clone)]
pub struct All(Bytes);

impl IntoResponse for All {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// Asks the control loop.
#[derive(Debug, Clone)]
pub struct View {
    node: NodeId,
    questions: mpsc::Sender<Question>,
    /// Every relay, and since when that is so. Locked while the control loop is asked, so that a
    /// crowd asks it once.
    all: Arc<Mutex<Option<(Instant, All)>>>,
}

impl View {
    /// A view of what the control loop of the daemon `node` answers to `questions`.
    pub fn new(node: NodeId, questions: mpsc::Sender<Question>) -> Self {
        Self {
            node,
            questions,
            all: Arc::default(),
        }
    }

    /// Every relay, as it was at most [`STATUS_AGE`] ago.
    pub async fn all(&self) -> Result<All, Ending> {
        let mut all = self.all.lock().await;
        let now = clock::now();
        if let Some((since, text)) = &*all
            && now.saturating_duration_since(*since) < STATUS_AGE
        {
            return Ok(text.clone());
        }
        let known = self.ask(None).await?;
        let value = json!({
            "node": self.node.as_str(),
            "serial": known.serial,
            "relays": known.relays,
            "regions": known.regions,
            "sharing": known.sharing,
            "geoip": known.geoip,
        });
        let text = All(value.to_string().into());
        *all = Some((clock::now(), text.clone()));
        Ok(text)
    }

    /// One relay, if it is configured.
    pub async fn one(&self, relay: RelayId) -> Result<Option<Value>, Ending> {
        Ok(self.ask(Some(relay)).await?.relays.pop())
    }

    /// What changed.
    pub async fn history(&self, span: Span) -> Result<Told, Ending> {
        self.put(|reply| Question::History { span, reply }).await
    }

    async fn ask(&self, relay: Option<RelayId>) -> Result<Known, Ending> {
        self.put(|reply| Question::Relays { relay, reply }).await
    }

    async fn put<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Ending> {
        let (reply, told) = oneshot::channel();
        let sent = self.questions.send(question(reply)).await;
        sent.map_err(|_| Ending)?;
        told.await.map_err(|_| Ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crowd_asks_once_and_who_comes_later_hears_news() {
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        let view = View::new("ns1".parse().expect("node"), questions);
        let answering = tokio::spawn(async move {
            let mut count = 0;
            while let Some(question) = asked.recv().await {
                count += 1;
                if let Question::Relays { reply, .. } = question {
                    let _ = reply.send(Known::default());
                }
            }
            count
        });
        let crowd = std::array::from_fn::<_, 20, _>(|_| view.clone());
        let crowd = crowd.map(|view| tokio::spawn(async move { view.all().await.is_ok() }));
        for asking in crowd {
            assert!(asking.await.expect("ended"));
        }
        tokio::time::sleep(STATUS_AGE).await;
        assert!(view.all().await.is_ok());
        drop(view);
        assert_eq!(answering.await.expect("ended"), 2);
    }
}
