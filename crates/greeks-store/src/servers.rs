//! The servers that a connection string names, each as the driver takes it.
//!
//! One at a time: the driver would go through them by itself, within one deadline and under one setting of TLS for all.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as Driver};

use crate::database::{DatabaseConfig, SslMode};

impl DatabaseConfig {
    /// The servers in the order given. The numbers of hosts, addresses and ports may not fit together: then the driver says
    /// so of the whole.
    pub(crate) fn servers(&self) -> Vec<Config> {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let (ports, count) = (self.config.get_ports().len(), hosts.len().max(addresses.len()));
        let fit = (hosts.is_empty() || addresses.is_empty() || hosts.len() == addresses.len())
            && (ports <= 1 || ports == count);
        if count <= 1 || !fit {
            let mut only = self.config.clone();
            only.ssl_mode(self.driver_mode(hosts.first()));
            return vec![only];
        }
        (0..count).map(|place| self.server(place)).collect()
    }

    fn server(&self, place: usize) -> Config {
        let mut one = self.without_hosts();
        let host = self.config.get_hosts().get(place);
        match host {
            Some(Host::Tcp(name)) => one.host(name),
            #[cfg(unix)]
            Some(Host::Unix(dir)) => one.host_path(dir),
            None => &mut one,
        };
        if let Some(address) = self.config.get_hostaddrs().get(place) {
            one.hostaddr(*address);
        }
        let ports = self.config.get_ports();
        if let Some(port) = ports.get(place).or(ports.first()) {
            one.port(*port);
        }
        one.ssl_mode(self.driver_mode(host));
        one
    }

    /// Everything that holds for every server.
    fn without_hosts(&self) -> Config {
        let (all, mut one) = (&self.config, Config::new());
        one.keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .ssl_negotiation(all.get_ssl_negotiation())
            .target_session_attrs(all.get_target_session_attrs())
            .channel_binding(all.get_channel_binding())
            .load_balance_hosts(all.get_load_balance_hosts());
        all.get_user().map(|user| one.user(user));
        all.get_password().map(|password| one.password(password));
        all.get_dbname().map(|name| one.dbname(name));
        all.get_options().map(|options| one.options(options));
        all.get_application_name().map(|name| one.application_name(name));
        all.get_connect_timeout().map(|time| one.connect_timeout(*time));
        all.get_tcp_user_timeout().map(|time| one.tcp_user_timeout(*time));
        all.get_keepalives_interval().map(|time| one.keepalives_interval(time));
        all.get_keepalives_retries().map(|times| one.keepalives_retries(times));
        one
    }

    /// The protection of the way to this host: a unix socket needs none, and knows none.
    fn driver_mode(&self, host: Option<&Host>) -> Driver {
        #[cfg(unix)]
        if matches!(host, Some(Host::Unix(_))) {
            return Driver::Disable;
        }
        match self.ssl_mode() {
            SslMode::Disable => Driver::Disable,
            SslMode::Prefer if self.tls().is_none() => Driver::Disable,
            SslMode::Prefer => Driver::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Driver::Require,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<Config> {
        DatabaseConfig::parse(text).unwrap().servers()
    }

    #[test]
    fn each_server_has_what_is_its_own_and_what_all_have() {
        let servers =
            servers("host=/run/pg,a,b port=1,2,3 user=me password=x dbname=d options='-c x=y' sslmode=verify-full");
        let own = |server: &Config| (server.get_hosts().to_vec(), server.get_ports().to_vec(), server.get_ssl_mode());
        let tcp = |name: &str| Host::Tcp(name.into());
        let found: Vec<_> = servers.iter().map(own).collect();
        assert_eq!(
            found,
            [
                (vec![Host::Unix("/run/pg".into())], vec![1], Driver::Disable),
                (vec![tcp("a")], vec![2], Driver::Require),
                (vec![tcp("b")], vec![3], Driver::Require),
            ],
            "a socket that comes first is no reason to go without TLS elsewhere"
        );
        // But for host, port and protection each is what the driver would make of all.
        let all = "user=me password=x dbname=d options='-c x=y'";
        let alone = DatabaseConfig::parse(&format!("host=a port=2 sslmode=verify-full {all}")).unwrap();
        let mut alone = alone.config.clone();
        assert_eq!(servers[1], *alone.ssl_mode(Driver::Require));
    }

    #[test]
    fn one_port_is_that_of_all_and_what_does_not_fit_is_left_to_the_driver() {
        let ports: Vec<_> = servers("host=a,b port=7 user=me").iter().map(|one| one.get_ports().to_vec()).collect();
        assert_eq!(ports, [[7], [7]]);
        assert_eq!(servers("host=a,b user=me").len(), 2);
        assert_eq!(servers("host=a,b,c port=1,2 user=me").len(), 1);
    }
}
