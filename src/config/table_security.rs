//! Configuration keys (table): TLS, SASL, tokens and principals.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, class, double, int, list, long, password, short, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    class("principal.builder.class")
        .or("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder")
        .per_broker()
        .not_yet("The class that turns a connection's credentials into a principal."),
    string("security.providers").low().not_yet("Java security providers to register."),
    string("ssl.protocol").or("TLSv1.3").per_broker().not_yet("The TLS version that a context is made for."),
    string("ssl.provider").per_broker().not_yet("The Java provider of TLS."),
    list("ssl.enabled.protocols")
        .or("TLSv1.2,TLSv1.3")
        .distinct()
        .per_broker()
        .not_yet("The TLS versions that are accepted."),
    list("ssl.cipher.suites")
        .or("")
        .distinct()
        .per_broker()
        .not_yet("The cipher suites that are accepted; all when empty."),
    string("ssl.client.auth")
        .or("none")
        .one_of(&["required", "requested", "none"])
        .per_broker()
        .not_yet("Whether clients must, may or need not show a certificate."),
    string("ssl.keystore.type")
        .or("JKS")
        .per_broker()
        .not_yet("The format of the key store: PEM, PKCS12 or JKS."),
    string("ssl.keystore.location").per_broker().not_yet("The file with this broker's key and certificates."),
    password("ssl.keystore.password").per_broker().not_yet("The password of the key store."),
    password("ssl.key.password").per_broker().not_yet("The password of the private key."),
    password("ssl.keystore.key").per_broker().not_yet("The private key itself, as PEM."),
    password("ssl.keystore.certificate.chain").per_broker().not_yet("The certificates of that key, as PEM."),
    string("ssl.truststore.type")
        .or("JKS")
        .per_broker()
        .not_yet("The format of the trust store: PEM, PKCS12 or JKS."),
    string("ssl.truststore.location")
        .per_broker()
        .not_yet("The file with the certificates that are trusted."),
    password("ssl.truststore.password").per_broker().not_yet("The password of the trust store."),
    password("ssl.truststore.certificates")
        .per_broker()
        .not_yet("The trusted certificates themselves, as PEM."),
    string("ssl.keymanager.algorithm")
        .or("SunX509")
        .per_broker()
        .not_yet("The Java algorithm that picks keys."),
    string("ssl.trustmanager.algorithm")
        .or("PKIX")
        .per_broker()
        .not_yet("The Java algorithm that checks certificates."),
    string("ssl.endpoint.identification.algorithm")
        .or("https")
        .low()
        .per_broker()
        .not_yet("How a server's name is compared with its certificate; empty for not at all."),
    string("ssl.secure.random.implementation")
        .low()
        .per_broker()
        .not_yet("The Java random generator of TLS."),
    class("ssl.engine.factory.class").low().per_broker().not_yet("A class that makes TLS engines."),
    string("ssl.principal.mapping.rules")
        .or("DEFAULT")
        .low()
        .not_yet("Rules that shorten a certificate's distinguished name to a principal."),
    boolean("ssl.allow.dn.changes")
        .or("false")
        .low()
        .not_yet("Whether a new certificate may carry another distinguished name."),
    boolean("ssl.allow.san.changes")
        .or("false")
        .low()
        .not_yet("Whether a new certificate may carry other alternative names."),
    list("sasl.enabled.mechanisms")
        .or("GSSAPI")
        .distinct()
        .per_broker()
        .not_yet("The SASL mechanisms that clients may use."),
    string("sasl.mechanism.inter.broker.protocol")
        .or("GSSAPI")
        .per_broker()
        .not_yet("The SASL mechanism between brokers."),
    password("sasl.jaas.config").per_broker().not_yet("The login module and its options, in JAAS form."),
    class("sasl.server.callback.handler.class")
        .not_yet("A class that checks credentials on the server's side."),
    class("sasl.client.callback.handler.class")
        .not_yet("A class that provides credentials on the client's side."),
    class("sasl.login.callback.handler.class").not_yet("A class that provides what a login needs."),
    class("sasl.login.class").not_yet("The class that performs a login."),
    int("sasl.server.max.receive.size")
        .or("524288")
        .not_yet("The largest SASL message before authentication, in bytes."),
    string("sasl.kerberos.service.name").per_broker().not_yet("The Kerberos name of the service."),
    string("sasl.kerberos.kinit.cmd")
        .or("/usr/bin/kinit")
        .per_broker()
        .not_yet("The command that renews tickets."),
    double("sasl.kerberos.ticket.renew.window.factor")
        .or("0.8")
        .per_broker()
        .not_yet("The share of a ticket's life after which it is renewed."),
    double("sasl.kerberos.ticket.renew.jitter")
        .or("0.05")
        .per_broker()
        .not_yet("The share by which that moment varies at random."),
    long("sasl.kerberos.min.time.before.relogin")
        .or("60000")
        .per_broker()
        .not_yet("The least time between two Kerberos logins, in milliseconds."),
    list("sasl.kerberos.principal.to.local.rules")
        .or("DEFAULT")
        .distinct()
        .per_broker()
        .not_yet("Rules that shorten Kerberos principals."),
    double("sasl.login.refresh.window.factor")
        .or("0.8")
        .per_broker()
        .not_yet("The share of a token's life after which it is renewed."),
    double("sasl.login.refresh.window.jitter")
        .or("0.05")
        .per_broker()
        .not_yet("The share by which that moment varies at random."),
    short("sasl.login.refresh.min.period.seconds")
        .or("60")
        .per_broker()
        .not_yet("The least time between two renewals, in seconds."),
    short("sasl.login.refresh.buffer.seconds")
        .or("300")
        .per_broker()
        .not_yet("How long before its end a token is renewed at the latest, in seconds."),
    int("sasl.login.connect.timeout.ms")
        .low()
        .not_yet("How long the token server may take to connect, in milliseconds."),
    int("sasl.login.read.timeout.ms")
        .low()
        .not_yet("How long the token server may take to answer, in milliseconds."),
    long("sasl.login.retry.backoff.ms")
        .or("100")
        .low()
        .not_yet("The first pause before a login is tried again, in milliseconds."),
    long("sasl.login.retry.backoff.max.ms")
        .or("10000")
        .low()
        .not_yet("The longest pause before a login is tried again, in milliseconds."),
    string("sasl.oauthbearer.scope.claim.name")
        .or("scope")
        .low()
        .not_yet("The token's field that holds scopes."),
    string("sasl.oauthbearer.sub.claim.name")
        .or("sub")
        .low()
        .not_yet("The token's field that holds the principal."),
    string("sasl.oauthbearer.token.endpoint.url").not_yet("Where tokens are issued."),
    string("sasl.oauthbearer.jwks.endpoint.url").not_yet("Where the keys that sign tokens are published."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms")
        .or("3600000")
        .low()
        .not_yet("How often those keys are read again, in milliseconds."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms")
        .or("100")
        .low()
        .not_yet("The first pause after they could not be read, in milliseconds."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms")
        .or("10000")
        .low()
        .not_yet("The longest pause after they could not be read, in milliseconds."),
    int("sasl.oauthbearer.clock.skew.seconds")
        .or("30")
        .low()
        .not_yet("How far two clocks may differ when a token's times are checked, in seconds."),
    list("sasl.oauthbearer.expected.audience")
        .or("")
        .distinct()
        .high()
        .not_yet("The audiences that a token may be meant for."),
    string("sasl.oauthbearer.expected.issuer").high().not_yet("The issuer that a token must name."),
    boolean("sasl.oauthbearer.allow.unverified.audience")
        .or("false")
        .not_yet("Whether a token's audience may go unchecked."),
    boolean("sasl.oauthbearer.allow.unverified.issuer")
        .or("false")
        .not_yet("Whether a token's issuer may go unchecked."),
    class("sasl.oauthbearer.jwt.retriever.class")
        .or("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .not_yet("The class that fetches tokens."),
    class("sasl.oauthbearer.jwt.validator.class")
        .or("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .not_yet("The class that checks tokens."),
    string("sasl.oauthbearer.scope").not_yet("The scope to ask a token server for."),
    string("sasl.oauthbearer.client.credentials.client.id").not_yet("The client's name at the token server."),
    password("sasl.oauthbearer.client.credentials.client.secret")
        .not_yet("The client's secret at the token server."),
    string("sasl.oauthbearer.assertion.algorithm")
        .or("RS256")
        .one_of_any_case(&["ES256", "RS256"])
        .not_yet("The algorithm that signs an assertion."),
    string("sasl.oauthbearer.assertion.claim.aud").not_yet("The audience that an assertion names."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds")
        .or("300")
        .between(0, 86400)
        .low()
        .not_yet("How long an assertion is valid, in seconds."),
    string("sasl.oauthbearer.assertion.claim.iss").not_yet("The issuer that an assertion names."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include")
        .or("false")
        .not_yet("Whether an assertion carries an id of its own."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds")
        .or("60")
        .between(0, 3600)
        .low()
        .not_yet("How far back an assertion's validity begins, in seconds."),
    string("sasl.oauthbearer.assertion.claim.sub").not_yet("The subject that an assertion names."),
    string("sasl.oauthbearer.assertion.file").not_yet("A file with a finished assertion."),
    string("sasl.oauthbearer.assertion.private.key.file")
        .not_yet("A file with the key that signs assertions."),
    password("sasl.oauthbearer.assertion.private.key.passphrase").not_yet("The password of that key."),
    string("sasl.oauthbearer.assertion.template.file").not_yet("A file with fixed parts of assertions."),
    password("delegation.token.secret.key").not_yet("The secret that signs delegation tokens."),
    long("delegation.token.max.lifetime.ms")
        .or("604800000")
        .at_least(1)
        .not_yet("The longest life of a delegation token, in milliseconds."),
    long("delegation.token.expiry.time.ms")
        .or("86400000")
        .at_least(1)
        .not_yet("How long a delegation token lives between renewals, in milliseconds."),
    long("delegation.token.expiry.check.interval.ms")
        .or("3600000")
        .at_least(1)
        .low()
        .not_yet("How often expired delegation tokens are looked for, in milliseconds."),
];
