//! A user's program that terminates many contracts by several threads. It decides what to do next by the errors alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::{Fault, Sandbox};
use wechatpay_contract::{Advice, Client, Error, QueryContract, TerminateContract};

use crate::pre_sign::PRE_SIGN;

/// Terminates contracts with 8 threads. Returns those that are left, and logs one line for each.
fn terminate_all(
    client: &Client,
    service_id: u64,
    codes: &[String],
    log: impl Fn(String) + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let left = Mutex::new(Vec::new());
    let work = || {
        while let Some(code) = codes.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = terminate(client, service_id, code) {
                log(format!("{code} is left ({}): {error:#}", error.advice()));
                left.lock().unwrap().push(code.clone());
            }
        }
    };
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
    left.into_inner().unwrap()
}

fn terminate(client: &Client, service_id: u64, out_contract_code: &str) -> Result<(), Error> {
    let terminate = TerminateContract {
        service_id,
        out_contract_code,
        contract_termination_remark: "服务已停止",
    };
    let query = QueryContract {
        service_id,
        out_contract_code,
    };
    for attempt in 0_u32.. {
        let Err(error) = client.send(&terminate) else {
            break;
        };
        let advice = error.advice();
        if advice == Advice::Mend || attempt == 4 {
            return Err(error);
        }
        if advice == Advice::Query && !client.send(&query)?.is_in_force() {
            break;
        }
        if advice != Advice::Retry {
            thread::sleep(Duration::from_millis(10 << attempt));
        }
    }
    Ok(())
}

#[test]
fn a_batch_is_terminated_whatever_happens_on_the_way() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let codes: Vec<String> = (0..40).map(|number| format!("batch{number}")).collect();
    for code in &codes {
        let pre_sign = MiniProgramPreSign {
            out_contract_code: code,
            ..PRE_SIGN
        };
        client.send(&pre_sign).unwrap();
        sandbox.user_signs(code).unwrap();
    }
    let path = "/v3/password-exempt-contract/contracts/service-id/";
    for fault in [
        Fault::error(429, "FREQUENCY_LIMITED"),
        Fault::error(429, "RATELIMIT_EXCEEDED"),
        Fault::error(403, "NO_AUTH"),
        Fault::error(500, "SYSTEM_ERROR"),
        Fault::Close { took_effect: true },
        Fault::Close { took_effect: false },
        Fault::HtmlPage {
            status: 502,
            took_effect: true,
        },
        Fault::CutBody,
    ] {
        sandbox.fault(fault.on("POST", path));
    }
    let lines = Mutex::new(Vec::new());
    let log = |line| lines.lock().unwrap().push(line);
    let left = terminate_all(&client, PRE_SIGN.service_id, &codes, log);

    let lines = lines.into_inner().unwrap();
    assert_eq!((left.len(), lines.len()), (1, 1), "{lines:?}");
    let wanted = format!(
        "{} is left (mend it): WeChat Pay responded with HTTP 403 NO_AUTH: injected as a fault by the sandbox; \
         WeChat Pay refused the request; Request-ID ",
        left[0]
    );
    assert!(lines[0].starts_with(&wanted), "{lines:?}");
    for code in &codes {
        let query = QueryContract {
            service_id: PRE_SIGN.service_id,
            out_contract_code: code,
        };
        let is_left = client.send(&query).unwrap().is_in_force();
        assert_eq!(is_left, left.contains(code), "{code}");
    }
}
