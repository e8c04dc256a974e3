//! ServerService: the control plane about itself.

use tonic::{Request, Response, Status};
use voicebridge_proto::{
    CONTRACT_VERSION,
    control::v1::{GetServerInfoRequest, GetServerInfoResponse, server_service_server::ServerService},
};

/// The service.
#[derive(Debug)]
pub(super) struct ServerInfo;

#[tonic::async_trait]
impl ServerService for ServerInfo {
    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        Ok(Response::new(GetServerInfoResponse {
            contract_version: CONTRACT_VERSION.to_owned(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
