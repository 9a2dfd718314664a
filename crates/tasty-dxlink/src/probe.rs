//! Both streamers, opened as a session does up to their consent, and left in good order.

use std::sync::Arc;
use std::time::Duration;

use broker_net::ws::{Socket, dial};
use futures_util::{SinkExt, StreamExt};
use greeks_model::{AccountId, UnixNanos};
use reqwest::Url;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::account::{Link, LinkSettings, Signal};
use crate::discovery::Discoverer;
use crate::rest::QuoteToken;
use crate::session::{Session, Settings};
use crate::source::{dial_settings, session_settings};
use crate::{Error, TastyConfig};

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Opens the streamer up to its consent to the quote token. `now` is the wall clock.
pub(crate) async fn streamer(
    config: &TastyConfig,
    tls: &Arc<rustls::ClientConfig>,
    token: &QuoteToken,
    now: UnixNanos,
) -> Result<(), Error> {
    let mut uninvited = true;
    loop {
        let mut socket = dial(&token.url, &dial_settings(config), tls).await?;
        let settings = Settings { uninvited, ..session_settings(config, token.secret.clone()) };
        let mut session = Session::new(settings, Instant::now().into_std());
        let result = authorize(&mut socket, &mut session, config, now).await;
        let farewell = async {
            while let Some(text) = session.take_last_word() {
                socket.send(Message::text(text)).await?;
            }
            socket.close(None).await
        };
        let orderly = matches!(timeout(FAREWELL, farewell).await, Ok(Ok(())));
        tracing::debug!(orderly, "streamer left");
        match result {
            // A source comes back after that too.
            Err(Error::SessionNotFound) if uninvited => uninvited = false,
            result => return result,
        }
    }
}

async fn authorize(
    socket: &mut Socket,
    session: &mut Session,
    config: &TastyConfig,
    now: UnixNanos,
) -> Result<(), Error> {
    let broken = |error| Error::broken(error, config.max_message_bytes);
    while !session.is_authorized() {
        let at = Instant::now().into_std();
        session.on_tick(at, true)?;
        while let Some(text) = session.poll_output(at) {
            match timeout(config.step_timeout, socket.send(Message::text(text))).await {
                Ok(sent) => sent.map_err(broken)?,
                Err(_) => {
                    return Err(Error::StepTimeout { step: "progress in writing", after: config.step_timeout });
                }
            }
        }
        tokio::select! {
            () = sleep_until(Instant::from_std(session.deadline())) => {}
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    session.on_frame(&text, Instant::now().into_std(), now)?;
                }
                // A server may refuse a token by closing, without a word.
                Some(Ok(Message::Close(_))) if session.awaits_authorization() => return Err(Error::Unauthorized),
                Some(Ok(Message::Close(close))) => return Err(Error::closed(close)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(Error::ConnectionLost { source: None }),
            },
        }
    }
    Ok(())
}

/// Opens the account streamer up to its consent to these accounts.
pub(crate) async fn account_streamer(
    config: &TastyConfig,
    tls: &Arc<rustls::ClientConfig>,
    url: Url,
    accounts: Vec<AccountId>,
    discoverer: Arc<Discoverer>,
) -> Result<(), Error> {
    let settings = LinkSettings {
        url,
        accounts,
        user_agent: config.user_agent.clone(),
        heartbeat: config.account_heartbeat,
        step_timeout: config.step_timeout,
    };
    let stop = CancellationToken::new();
    let mut link = Link::new(settings, discoverer, Arc::clone(tls), stop.clone());
    loop {
        let (next, signal) = link.next().await;
        link = next;
        match signal {
            Signal::Heard { acknowledged: false, .. } => {}
            Signal::Heard { acknowledged: true, .. } | Signal::Stopped => break,
            Signal::Lost { error, .. } => return Err(error),
        }
    }
    stop.cancel();
    if timeout(FAREWELL, link.next()).await.is_err() {
        tracing::debug!("the account streamer was left without a good-bye");
    }
    Ok(())
}
