//! The report of the self-test: a success, and each failure with its cause and remedy.

use std::time::Duration;

use wechatpay_contract::sandbox::{Fault, Sandbox, Signing, SignsWith};
use wechatpay_contract::self_test::{Check, Report, Verdict};
use wechatpay_contract::{Client, Error, PrivateKey, PublicKey, Signer, Validity, Verifier};

use crate::support::at;

const START: u64 = 1_710_892_800;
const SERIAL: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const CHECKS: [Check; 8] = [
    Check::PrivateKey,
    Check::SerialNumber,
    Check::PlatformKeys,
    Check::Connection,
    Check::Clock,
    Check::RequestSignature,
    Check::ResponseSignature,
    Check::Echo,
];

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.findings.iter().map(|one| one.verdict).collect()
}

fn found(report: &Report, check: Check) -> (Verdict, &str, &str) {
    let finding = report.finding(check).unwrap();
    let remedy = finding.remedy.as_deref().unwrap_or_default();
    (finding.verdict, &finding.found, remedy)
}

/// Asserts that the check failed, with texts that contain this reason and this remedy.
fn assert_failed(report: &Report, check: Check, reason: &str, remedy: &str) {
    let (verdict, said, advice) = found(report, check);
    assert_eq!(verdict, Verdict::Failed, "{report}");
    assert!(said.contains(reason), "{said}");
    assert!(advice.contains(remedy), "{advice}");
    assert!(!report.is_success());
    assert!(report.to_string().contains(said));
}

fn issue(sandbox: &Sandbox) {
    let validity = Validity {
        not_before: START,
        not_after: 4_000_000_000,
    };
    sandbox
        .platform()
        .issue_certificate(SERIAL, validity)
        .unwrap();
}

#[test]
fn a_self_test_without_a_fault_passes_every_check() {
    let sandbox = Sandbox::start().unwrap();
    let report = sandbox.client().self_test();
    assert!(report.is_success(), "{report}");
    let checks: Vec<_> = report.findings.iter().map(|one| one.check).collect();
    assert_eq!(checks, CHECKS);
    assert_eq!(verdicts(&report), [Verdict::Passed; 8]);
    assert_eq!(report.mchid, Sandbox::MCHID);
    assert_eq!(report.serial_no, Sandbox::MERCHANT_SERIAL_NO);
    assert_eq!(report.verified_by.as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
    assert!(report.clock_difference.unwrap().unsigned_abs() < 60);
    assert!(report.error.is_none());

    let requests = sandbox.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method, "POST");
    assert_eq!(requests[0].target, "/v3/security/echo");
    assert_eq!(
        requests[0].header("Wechatpay-Serial"),
        Some(Sandbox::PUBLIC_KEY_ID)
    );

    let host = sandbox.url().strip_prefix("http://").unwrap();
    let clock = found(&report, Check::Clock).1;
    let id = report.request_id.as_deref().unwrap();
    assert_eq!(
        report.to_string(),
        format!(
            "self-test of merchant 1900000109
ok        private key: it can be read and it signs
ok        serial number: 5157F09EFDC096DE15EBE81A47057A7232F1B8E1
ok        platform keys: PUB_KEY_ID_0000000000000024101100397200000006
ok        connection: {host} responds, HTTP 200
ok        clock: {clock}
ok        request signature: accepted
ok        response signature: verified with PUB_KEY_ID_0000000000000024101100397200000006
ok        echo: the text that was sent came back
Request-ID {id}"
        )
    );
}

#[test]
fn the_download_is_a_check_of_its_own_in_certificate_mode() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.platform().offer_public_key(false);
    issue(&sandbox);
    let client = sandbox
        .certificate_client_builder()
        .unwrap()
        .build()
        .unwrap();
    let report = client.self_test();
    assert!(report.is_success(), "{report}");
    assert_eq!(verdicts(&report), [Verdict::Passed; 9]);
    assert_eq!(
        found(&report, Check::PlatformCertificates).1,
        format!("downloaded {SERIAL}")
    );
    assert_eq!(report.verified_by.as_deref(), Some(SERIAL));
}

#[test]
fn a_wrong_private_key_fails_the_check_of_the_request_signature() {
    let sandbox = Sandbox::start().unwrap();
    let other = include_bytes!("../keys/rsa2048_pkcs8.pem");
    let key = PrivateKey::from_pem(other).unwrap();
    let signer = Signer::new(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, key).unwrap();
    let client = Client::builder(signer, sandbox.verifier())
        .host(sandbox.url())
        .build()
        .unwrap();
    let report = client.self_test();
    assert_failed(
        &report,
        Check::RequestSignature,
        "HTTP 401 SIGN_ERROR",
        "check that apiclient_key.pem and serial number 5157F09EFDC096DE15EBE81A47057A7232F1B8E1 are of the same certificate",
    );
    use Verdict::{Failed, Passed, Unknown};
    assert_eq!(
        verdicts(&report),
        [
            Passed, Passed, Passed, Passed, Passed, Failed, Unknown, Unknown
        ]
    );
    assert_eq!(report.verified_by, None);
    assert!(matches!(report.error, Some(Error::Api(_))));
}

#[test]
fn a_wrong_merchant_id_or_serial_number_is_named_in_the_remedy() {
    let sandbox = Sandbox::start().unwrap();
    let test = |mchid: &str, serial_no: &str| {
        let key = PrivateKey::from_pem(Sandbox::MERCHANT_KEY_PEM).unwrap();
        let signer = Signer::new(mchid, serial_no, key).unwrap();
        let builder = Client::builder(signer, sandbox.verifier()).host(sandbox.url());
        builder.build().unwrap().self_test()
    };
    let report = test("1900000110", Sandbox::MERCHANT_SERIAL_NO);
    assert_failed(
        &report,
        Check::RequestSignature,
        "HTTP 401 SIGN_ERROR",
        "is merchant 1900000110's own",
    );
    let report = test(Sandbox::MCHID, "5157F09E");
    assert_failed(
        &report,
        Check::RequestSignature,
        "HTTP 401 SIGN_ERROR",
        "serial number 5157F09E are of the same certificate",
    );
    let (verdict, said, _) = found(&report, Check::SerialNumber);
    assert_eq!(verdict, Verdict::Doubtful);
    assert!(said.starts_with("5157F09E has 8 digits"), "{said}");
}

#[test]
fn the_difference_of_a_wrong_clock_is_measured() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.set_clock(|| at(START));
    let test = |now: u64| {
        let builder = sandbox.client_builder().clock(move || at(now));
        builder.build().unwrap().self_test()
    };
    let report = test(START + 300);
    assert_eq!(report.clock_difference, Some(-300));
    assert_failed(
        &report,
        Check::Clock,
        "300 s ahead of the server's",
        "set this machine's clock",
    );
    assert_failed(
        &report,
        Check::RequestSignature,
        "HTTP 401 SIGN_ERROR",
        "first set this machine's clock",
    );

    let report = test(START - 299);
    assert_eq!(report.clock_difference, Some(299));
    let (verdict, said, _) = found(&report, Check::Clock);
    assert_eq!(
        (verdict, said),
        (Verdict::Doubtful, "299 s behind the server's")
    );
    assert!(report.is_success());

    let report = test(START);
    let (verdict, said, _) = found(&report, Check::Clock);
    assert_eq!(
        (verdict, said),
        (Verdict::Passed, "agrees with the server's")
    );
}

#[test]
fn the_remedy_for_an_unknown_platform_key_says_where_to_get_it() {
    let sandbox = Sandbox::start().unwrap();
    let refusal = Fault::Error {
        status: 403,
        code: "NO_AUTH".to_owned(),
        signing: Signing::UnknownSerial,
        took_effect: false,
    };
    for fault in [Fault::Signature(Signing::UnknownSerial), refusal] {
        sandbox.fault(fault);
        let report = sandbox.client().self_test();
        assert_failed(
            &report,
            Check::ResponseSignature,
            &format!(
                "signed with the unknown platform key {:?}",
                Signing::UNKNOWN_SERIAL
            ),
            &format!(
                "download the WeChat Pay public key with the id {}",
                Signing::UNKNOWN_SERIAL
            ),
        );
        assert_eq!(found(&report, Check::RequestSignature).0, Verdict::Unknown);
    }

    issue(&sandbox);
    let certificate = SignsWith::Key(SERIAL.to_owned());
    sandbox.platform().sign_with(certificate);
    let report = sandbox.client().self_test();
    assert_failed(
        &report,
        Check::ResponseSignature,
        SERIAL,
        "configure the download of the platform certificates with the APIv3 key",
    );
}

#[test]
fn each_wrong_signature_of_a_response_has_its_remedy() {
    let sandbox = Sandbox::start().unwrap();
    for (signing, reason, remedy) in [
        (
            Signing::Wrong,
            "the signature is wrong",
            "the platform key under this id",
        ),
        (
            Signing::Missing,
            "header Wechatpay-Serial is missing or empty",
            "look for a proxy",
        ),
        (Signing::Probe, "a probe signature", "nothing is wrong"),
        (Signing::Stale, "differ by 600s", "set this machine's clock"),
    ] {
        sandbox.fault(Fault::Signature(signing));
        let report = sandbox.client().self_test();
        assert_failed(&report, Check::ResponseSignature, reason, remedy);
        assert_eq!(found(&report, Check::Echo).0, Verdict::Unknown);
    }
}

#[test]
fn a_request_counts_as_probably_accepted_only_after_a_2xx_response() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Signature(Signing::Wrong));
    sandbox.fault(Fault::Error {
        status: 401,
        code: "SIGN_ERROR".to_owned(),
        signing: Signing::Stale,
        took_effect: false,
    });
    let requests: Vec<_> = (0..2)
        .map(|_| sandbox.client().self_test())
        .map(|report| report.finding(Check::RequestSignature).cloned().unwrap())
        .collect();
    assert!(requests.iter().all(|one| one.verdict == Verdict::Unknown));
    let said: Vec<_> = requests.iter().map(|one| one.found.as_str()).collect();
    let expected = [
        "probably accepted: the response is HTTP 200, but not verified",
        "the response is HTTP 401, but not verified",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_wrong_platform_key_under_the_right_id_fails_the_check_of_the_response_signature() {
    let sandbox = Sandbox::start().unwrap();
    let other = include_str!("../keys/rsa2048_public.pem");
    let key = PublicKey::from_pem(Sandbox::PUBLIC_KEY_ID, other).unwrap();
    let client = Client::builder(sandbox.signer(), Verifier::new([key]).unwrap())
        .host(sandbox.url())
        .build()
        .unwrap();
    assert_failed(
        &client.self_test(),
        Check::ResponseSignature,
        "the signature is wrong",
        "check that the platform key under this id is the one of the merchant platform",
    );
}

#[test]
fn the_checks_of_signatures_are_unknown_without_a_connection() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.refuse_connections(true).unwrap();
    let report = sandbox.client().self_test();
    assert_failed(
        &report,
        Check::Connection,
        "nothing was sent",
        "check that this machine can resolve the host's name and connect to it",
    );
    use Verdict::{Failed, Passed, Unknown};
    assert_eq!(
        verdicts(&report),
        [
            Passed, Passed, Passed, Failed, Unknown, Unknown, Unknown, Unknown
        ]
    );
    assert_eq!(report.clock_difference, None);

    sandbox.refuse_connections(false).unwrap();
    sandbox.fault(Fault::Close { took_effect: false });
    let report = sandbox.client().self_test();
    assert_failed(
        &report,
        Check::Connection,
        "broke off",
        "whether the timeout is long enough",
    );
}

#[test]
fn a_signing_function_that_fails_is_the_first_failure() {
    let sandbox = Sandbox::start().unwrap();
    let signer = Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, |_| {
        Err("the key service is down".into())
    });
    let client = Client::builder(signer.unwrap(), sandbox.verifier())
        .host(sandbox.url())
        .build()
        .unwrap();
    let report = client.self_test();
    assert_failed(
        &report,
        Check::PrivateKey,
        "the key service is down",
        "mend the function that signs",
    );
    assert!(sandbox.requests().is_empty());
}

#[test]
fn the_remedy_for_no_platform_key_says_which_to_get() {
    let sandbox = Sandbox::start().unwrap();
    let client = Client::builder(sandbox.signer(), Verifier::without_keys())
        .host(sandbox.url())
        .build()
        .unwrap();
    assert_failed(
        &client.self_test(),
        Check::PlatformKeys,
        "there is none",
        "configure the WeChat Pay public key",
    );
    assert!(sandbox.requests().is_empty());
}

#[test]
fn each_failure_of_the_download_has_its_remedy() {
    let sandbox = Sandbox::start().unwrap();
    let client = || {
        let builder = sandbox.certificate_client_builder().unwrap();
        builder.build().unwrap()
    };
    // The merchant has no certificates, so there is no list, or it is empty.
    for is_listed in [false, true] {
        if is_listed {
            issue(&sandbox);
            sandbox.platform().withdraw_certificate(SERIAL);
        }
        let report = client().self_test();
        assert_failed(
            &report,
            Check::PlatformCertificates,
            "this merchant has no platform certificates",
            "configure the WeChat Pay public key",
        );
        assert_failed(&report, Check::PlatformKeys, "there is none", "");
    }

    // The APIv3 key is wrong.
    issue(&sandbox);
    let wrong = wechatpay_contract::ApiV3Key::new([7; 32]).unwrap();
    let builder = sandbox.certificate_client_builder().unwrap();
    let report = builder
        .platform_certificates(wrong)
        .build()
        .unwrap()
        .self_test();
    assert_failed(
        &report,
        Check::PlatformCertificates,
        "does not decrypt",
        "compare the APIv3 key",
    );

    // The download is refused as any request would be.
    sandbox.revoke_first_certificate();
    let report = client().self_test();
    assert_failed(
        &report,
        Check::RequestSignature,
        "HTTP 401 SIGN_ERROR",
        "neither expired nor revoked",
    );
    assert_eq!(found(&report, Check::Connection).0, Verdict::Passed);
    assert_eq!(found(&report, Check::Clock).0, Verdict::Passed);
}

#[test]
fn a_failed_download_of_certificates_that_are_not_needed_is_doubtful() {
    let sandbox = Sandbox::start().unwrap();
    let key = wechatpay_contract::ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    let client = sandbox.client_builder().platform_certificates(key);
    let report = client.build().unwrap().self_test();
    assert_eq!(
        found(&report, Check::PlatformCertificates).0,
        Verdict::Doubtful
    );
    assert!(report.is_success(), "{report}");
    assert_eq!(report.verified_by.as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
}

#[test]
fn each_error_that_is_not_about_the_signature_has_its_verdict() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::error(403, "NO_AUTH"));
    let report = sandbox.client().self_test();
    let (verdict, said, remedy) = found(&report, Check::RequestSignature);
    assert_eq!(verdict, Verdict::Passed);
    assert!(said.contains("HTTP 403 NO_AUTH"), "{said}");
    assert!(remedy.contains("the permission is missing"), "{remedy}");
    assert_eq!(found(&report, Check::ResponseSignature).0, Verdict::Passed);
    assert!(!report.is_success());

    sandbox.fault(Fault::Late(Duration::from_secs(2)));
    let client = sandbox
        .client_builder()
        .connect_timeout(Duration::from_millis(200))
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    assert_failed(
        &client.self_test(),
        Check::Connection,
        "broke off",
        "timeout",
    );
}
