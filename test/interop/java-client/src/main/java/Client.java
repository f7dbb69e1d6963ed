import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.DefaultWorkloadApiClient.ClientOptions;

/** A workload written with java-spiffe, whose gRPC puts the socket's path into `:authority`. Prints its X509-SVID's ID as JSON. */
public final class Client {
    public static void main(String[] arguments) throws Exception {
        ClientOptions options = ClientOptions.builder().spiffeSocketPath("unix:" + arguments[0]).build();
        try (var client = DefaultWorkloadApiClient.newClient(options)) {
            var svid = client.fetchX509Context().getDefaultSvid();
            System.out.println("{\"id\":\"" + svid.getSpiffeId() + "\"}");
        }
        // Threads of the transport would keep the process.
        System.exit(0);
    }
}
