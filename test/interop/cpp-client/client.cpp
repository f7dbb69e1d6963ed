// A workload written with gRPC for C++. Prints its X509-SVID's ID as JSON.
//
// usage: cpp-client SOCKET [AUTHORITY]

#include <grpcpp/grpcpp.h>

#include <iostream>

#include "workload.grpc.pb.h"

int main(int count, char** words) {
  if (count < 2) return 2;
  auto channel = grpc::CreateChannel(std::string("unix:") + words[1], grpc::InsecureChannelCredentials());
  auto stub = SpiffeWorkloadAPI::NewStub(channel);
  grpc::ClientContext context;
  context.AddMetadata("workload.spiffe.io", "true");
  if (count > 2) context.set_authority(words[2]);
  auto stream = stub->FetchX509SVID(&context, X509SVIDRequest());
  X509SVIDResponse response;
  if (stream->Read(&response) && response.svids_size() > 0) {
    std::cout << "{\"id\":\"" << response.svids(0).spiffe_id() << "\"}" << std::endl;
    context.TryCancel();
    return 0;
  }
  std::cerr << stream->Finish().error_message() << std::endl;
  return 1;
}
