//! The node's JSON-RPC interface.

use super::{Chain, Offer, FEE};
use jsonrpsee::server::{RpcModule, Server, ServerHandle};
use jsonrpsee::types::ErrorObjectOwned;
use scale::{Compact, Encode};
use serde_json::{json, Value};
use sp_core::H256;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Runtime;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Nothing is answered.
    pub silent: bool,
    /// So many offers are taken and not answered.
    pub swallowed_answers: u32,
    /// So many offers are taken for good and forgotten.
    pub forgotten_offers: u32,
    /// The fee cannot be paid.
    pub poor: bool,
}

/// A machine on which a node runs, or does not.
pub struct Host {
    runtime: Runtime,
    address: SocketAddr,
    server: Option<ServerHandle>,
    shared: Arc<Shared>,
}

struct Shared {
    chain: Mutex<Chain>,
    trouble: Mutex<Trouble>,
}

type Answer = Result<Value, ErrorObjectOwned>;

impl Host {
    /// Starts a node that has `chain`.
    pub fn start(chain: Chain) -> Host {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut host = Host {
            runtime,
            address: ([127, 0, 0, 1], 0).into(),
            server: None,
            shared: Arc::new(Shared {
                chain: Mutex::new(chain),
                trouble: Mutex::default(),
            }),
        };
        host.run();
        host
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.shared.chain.lock().unwrap()
    }

    pub fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.shared.trouble.lock().unwrap()
    }

    /// The node dies, with its pool and all connections.
    pub fn kill(&mut self) {
        let server = self.server.take().unwrap();
        server.stop().unwrap();
        self.runtime.block_on(server.stopped());
        self.chain().pool.clear();
    }

    /// The node starts again at the same address.
    pub fn run(&mut self) {
        let module = module(self.shared.clone());
        let address = self.address;
        self.runtime.block_on(async {
            let server = Server::builder().build(address).await.unwrap();
            self.address = server.local_addr().unwrap();
            self.server = Some(server.start(module));
        });
    }

    /// Makes a block every few milliseconds while `work` is done.
    pub fn while_making_blocks<T>(&self, work: impl FnOnce() -> T) -> T {
        let shared = self.shared.clone();
        let ticking = self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                shared.chain.lock().unwrap().produce();
            }
        });
        let outcome = work();
        ticking.abort();
        outcome
    }
}

fn module(shared: Arc<Shared>) -> RpcModule<Arc<Shared>> {
    let mut module = RpcModule::new(shared);
    for method in [
        "author_submitExtrinsic",
        "chain_getBlock",
        "chain_getBlockHash",
        "chain_getFinalizedHead",
        "chain_getHeader",
        "state_call",
        "state_getMetadata",
        "state_getRuntimeVersion",
        "state_getStorage",
        "system_accountNextIndex",
    ] {
        module
            .register_async_method(method, move |params, shared, _| async move {
                let params: Vec<Value> = params.parse().unwrap_or_default();
                let (answer, trouble) = {
                    let mut trouble = shared.trouble.lock().unwrap();
                    let mut chain = shared.chain.lock().unwrap();
                    let answer = answer(&mut chain, &mut trouble, method, &params);
                    (answer, *trouble)
                };
                match answer {
                    Some(answer) if !trouble.silent => answer,
                    _ => std::future::pending().await,
                }
            })
            .unwrap();
    }
    module
}

/// What the node answers, if anything.
fn answer(
    chain: &mut Chain,
    trouble: &mut Trouble,
    method: &str,
    params: &[Value],
) -> Option<Answer> {
    if method == "author_submitExtrinsic" {
        return offer(chain, trouble, &bytes(&params[0]));
    }
    Some(read(chain, method, params))
}

fn offer(chain: &mut Chain, trouble: &mut Trouble, transaction: &[u8]) -> Option<Answer> {
    if trouble.poor {
        let why = "Inability to pay some fees (e.g. account balance too low)";
        return Some(Err(refusal(1010, "Invalid Transaction", Some(why))));
    }
    if trouble.forgotten_offers > 0 {
        trouble.forgotten_offers -= 1;
        return Some(Ok(json!(H256::zero())));
    }
    let verdict = chain.offer(transaction.to_vec());
    if trouble.swallowed_answers > 0 {
        trouble.swallowed_answers -= 1;
        return None;
    }
    Some(match verdict {
        Offer::Taken => Ok(json!(H256::zero())),
        Offer::Refused(code, message, data) => Err(refusal(code, message, data)),
    })
}

fn read(chain: &Chain, method: &str, params: &[Value]) -> Answer {
    let named = |index: usize| -> Option<usize> {
        let hash = serde_json::from_value(params.get(index)?.clone()).ok()?;
        chain.at(&hash)
    };
    let with_state = |index: usize| {
        let block = named(index).ok_or_else(|| {
            refusal(
                4003,
                "Client error: UnknownBlock: Header was not found",
                None,
            )
        })?;
        if block < chain.pruned {
            let why = "Client error: UnknownBlock: State already discarded for that block";
            return Err(refusal(4003, why, None));
        }
        Ok(block)
    };
    Ok(match method {
        "chain_getBlockHash" => {
            let number = params.first().and_then(Value::as_u64);
            let number = number.map_or(chain.best(), |number| number as usize);
            json!(chain.blocks.get(number).map(|block| block.hash))
        }
        "chain_getFinalizedHead" => json!(chain.blocks[chain.finalized()].hash),
        "chain_getHeader" => json!(named(0).map(header)),
        "chain_getBlock" => {
            let block = named(0).map(|number| {
                let body = chain.blocks[number].body.iter();
                let body: Vec<String> = body.map(|bytes| hex(bytes)).collect();
                let block = json!({ "header": header(number), "extrinsics": body });
                json!({ "block": block, "justifications": null })
            });
            json!(block)
        }
        "state_getMetadata" => json!(hex(&chain.metadata)),
        "state_getRuntimeVersion" => {
            with_state(0)?;
            json!({ "specVersion": 1, "transactionVersion": 1 })
        }
        "state_getStorage" => {
            let block = with_state(1)?;
            let stored = chain.storage(block, &bytes(&params[0]));
            json!(stored.map(|stored| hex(&stored)))
        }
        "state_call" => {
            with_state(2)?;
            match params[0].as_str().unwrap() {
                "TransactionPaymentApi_query_info" => {
                    let nothing = Compact(0u64);
                    json!(hex(&(nothing, nothing, 0u8, FEE).encode()))
                }
                _ => json!(hex(&chain.dry_run)),
            }
        }
        "system_accountNextIndex" => {
            let account = params[0].as_str().unwrap();
            let account = lockstep_agent::keys::parse_address(account).unwrap();
            json!(chain.next_nonce(&account))
        }
        other => return Err(refusal(-32601, other, None)),
    })
}

fn header(number: usize) -> Value {
    json!({
        "parentHash": H256::zero(),
        "number": format!("{number:#x}"),
        "stateRoot": H256::zero(),
        "extrinsicsRoot": H256::zero(),
        "digest": { "logs": [] },
    })
}

fn refusal(code: i32, message: &str, data: Option<&str>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, data)
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    hex::decode(text.trim_start_matches("0x")).unwrap()
}
