//! The certificate authorities whose TLS certificates are trusted.

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::error::InvalidSetting;
use crate::keys::is_certificate;

/// The certificate authorities to trust, by default those of Mozilla.
pub(crate) struct Roots(pub(super) RootCerts);

impl Default for Roots {
    fn default() -> Self {
        Self(RootCerts::WebPki)
    }
}

impl Roots {
    /// Reads one or more `CERTIFICATE` blocks, which replace the authorities of Mozilla.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, InvalidSetting> {
        let certificates = parse_pem(pem)
            .zip(1..)
            .map(|(item, number)| root(item, number))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| InvalidSetting::new("root_certificates", problem))?;
        if certificates.is_empty() {
            return Err(InvalidSetting::new(
                "root_certificates",
                "no CERTIFICATE block found: wanted at least one",
            ));
        }
        Ok(Self(certificates.into()))
    }
}

fn root(
    item: Result<PemItem<'static>, ureq::Error>,
    number: u32,
) -> Result<Certificate<'static>, String> {
    match item {
        // rustls would skip an unreadable certificate with no more than a log message.
        Ok(PemItem::Certificate(certificate)) if is_certificate(certificate.der()) => {
            Ok(certificate)
        }
        Ok(PemItem::PrivateKey(_)) => Err(format!(
            "block {number} is a private key: wanted CERTIFICATE blocks only"
        )),
        _ => Err(format!(
            "block {number} is damaged: wanted a CERTIFICATE block"
        )),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::ROOT;
    use super::*;

    fn problem(pem: &[u8]) -> String {
        let error = Roots::from_pem(pem).map(|_| ()).unwrap_err();
        assert_eq!(error.setting(), "root_certificates");
        error.problem().to_owned()
    }

    fn count(roots: &Roots) -> usize {
        match &roots.0 {
            RootCerts::Specific(certificates) => certificates.len(),
            other => panic!("wanted certificates, found {other:?}"),
        }
    }

    fn der() -> Vec<u8> {
        parse_pem(ROOT.as_bytes())
            .find_map(|item| match item.unwrap() {
                PemItem::Certificate(certificate) => Some(certificate.der().to_vec()),
                _ => None,
            })
            .unwrap()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn roots_are_one_or_more_certificates() {
        let one = Roots::from_pem(ROOT.as_bytes()).unwrap();
        assert_eq!(count(&one), 1);
        let two = format!("# a comment\n{ROOT}\n\n{}", pem("CERTIFICATE", &der()));
        assert_eq!(count(&Roots::from_pem(two.as_bytes()).unwrap()), 2);
        assert!(matches!(Roots::default().0, RootCerts::WebPki));
    }

    #[test]
    fn at_least_one_root_is_wanted() {
        let public = pem("PUBLIC KEY", &der());
        for text in ["", "no PEM", &public] {
            assert_eq!(
                problem(text.as_bytes()),
                "no CERTIFICATE block found: wanted at least one"
            );
        }
    }

    #[test]
    fn a_damaged_root_is_refused() {
        let der = der();
        assert_eq!(
            count(&Roots::from_pem(pem("CERTIFICATE", &der).as_bytes()).unwrap()),
            1
        );
        let damaged = "block 2 is damaged: wanted a CERTIFICATE block";

        for length in 0..der.len() {
            let text = format!("{ROOT}\n{}", pem("CERTIFICATE", &der[..length]));
            assert_eq!(problem(text.as_bytes()), damaged, "{length}");
        }
        let mut longer = der.clone();
        longer.push(0);
        let text = format!("{ROOT}\n{}", pem("CERTIFICATE", &longer));
        assert_eq!(problem(text.as_bytes()), damaged);

        for text in [
            format!("{ROOT}\n-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n"),
            format!("{ROOT}\n-----BEGIN CERTIFICATE-----\nAAAA\n"),
        ] {
            assert_eq!(problem(text.as_bytes()), damaged);
        }
    }

    #[test]
    fn a_private_key_among_the_roots_is_refused() {
        let text = format!("{ROOT}\n{}", pem("PRIVATE KEY", b"secret"));
        assert_eq!(
            problem(text.as_bytes()),
            "block 2 is a private key: wanted CERTIFICATE blocks only"
        );
    }

    #[test]
    fn a_der_of_absurd_length_is_no_certificate() {
        for der in [
            &[0x30, 0x80][..],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[0x30, 0xff],
        ] {
            assert!(!is_certificate(der), "{der:?}");
        }
        assert!(is_certificate(&der()));
    }
}
