//! Credentials and addresses of tastytrade.

use std::path::PathBuf;

use secrecy::SecretString;

use super::layers::Layers;
use super::values::accounts;
use crate::exit::{Code, Failure};

/// What tastytrade wants to know, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Tastytrade {
    pub(crate) refresh_token: SecretString,
    pub(crate) client_secret: SecretString,
    pub(crate) api_url: Option<String>,
    pub(crate) streamer_url: Option<String>,
    pub(crate) accounts: Option<Vec<String>>,
    pub(crate) ca_file: Option<PathBuf>,
}

pub(super) fn tastytrade(layers: &Layers) -> Result<Option<Tastytrade>, Failure> {
    let refresh_token = secret(layers, "TASTYTRADE_REFRESH_TOKEN", "TASTYTRADE_REFRESH_TOKEN_FILE")?;
    let client_secret = secret(layers, "TASTYTRADE_CLIENT_SECRET", "TASTYTRADE_CLIENT_SECRET_FILE")?;
    let (refresh_token, client_secret) = match (refresh_token, client_secret) {
        (None, None) => return Ok(None),
        (Some(token), Some(secret)) => (token, secret),
        (token, _) => {
            let (set, missing) = if token.is_some() {
                ("TASTYTRADE_REFRESH_TOKEN", "TASTYTRADE_CLIENT_SECRET")
            } else {
                ("TASTYTRADE_CLIENT_SECRET", "TASTYTRADE_REFRESH_TOKEN")
            };
            return Err(Failure::new(Code::Config, format!("{set} is set but {missing} is not"))
                .remedy("tastytrade needs both; they come from the OAuth application and grant of your account"));
        }
    };
    Ok(Some(Tastytrade {
        refresh_token,
        client_secret,
        api_url: layers.get("TASTYTRADE_API_URL").map(str::to_owned),
        streamer_url: layers.get("TASTYTRADE_STREAMER_URL").map(str::to_owned),
        accounts: accounts(layers, "TASTYTRADE_ACCOUNTS")?,
        ca_file: layers.get("TASTYTRADE_CA_FILE").map(PathBuf::from),
    }))
}

/// A secret given as it is or as the name of a file that holds it, whichever stands in the place that beats the other.
fn secret(layers: &Layers, name: &str, file_name: &str) -> Result<Option<SecretString>, Failure> {
    let path = match (layers.rank(name), layers.rank(file_name)) {
        (Some(plain), Some(file)) if plain == file => {
            return Err(
                Failure::new(Code::Config, format!("{name} and {file_name} are both set")).remedy("keep one of them")
            );
        }
        (Some(plain), file) if file.is_none_or(|file| plain < file) => {
            return Ok(layers.get(name).map(SecretString::from));
        }
        (_, None) => return Ok(None),
        (_, Some(_)) => layers.get(file_name).unwrap_or_default(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Code::Config, format!("{file_name} names {path}, which cannot be read: {error}"))
            .remedy("correct the path or the rights of the file")
    })?;
    let value = text.trim();
    if value.is_empty() {
        return Err(Failure::new(Code::Config, format!("{file_name} names {path}, which is empty")));
    }
    Ok(Some(SecretString::from(value)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::tests::settings;
    use super::super::{Overrides, Settings};
    use super::*;

    #[test]
    fn secrets_come_from_files_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "from-file\n").unwrap();
        let path = path.to_str().unwrap();
        let found = settings(&[("TASTYTRADE_REFRESH_TOKEN_FILE", path), ("TASTYTRADE_CLIENT_SECRET", "s")]).unwrap();
        assert_eq!(found.tastytrade.as_ref().unwrap().refresh_token.expose_secret(), "from-file");
        assert!(!format!("{found:?}").contains("from-file"));
        let both = [("TASTYTRADE_REFRESH_TOKEN_FILE", path), ("TASTYTRADE_REFRESH_TOKEN", "x")];
        assert!(settings(&both).unwrap_err().to_string().contains("both set"));

        // The environment beats a file, by whichever name.
        let toml = directory.path().join("greekd.toml");
        std::fs::write(&toml, "[tastytrade]\nrefresh_token = 'in-toml'").unwrap();
        std::fs::set_permissions(&toml, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let environment = [("TASTYTRADE_REFRESH_TOKEN_FILE", path), ("TASTYTRADE_CLIENT_SECRET", "s"), ("HOME", "/h")];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let layers = Layers::load(environment, directory.path(), None).unwrap();
        let found = Settings::from_layers(layers, &Overrides::default()).unwrap();
        assert_eq!(found.tastytrade.unwrap().refresh_token.expose_secret(), "from-file");
    }
}
