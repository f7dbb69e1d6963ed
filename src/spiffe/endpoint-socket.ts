/**
 * The address of a Workload API, as SPIFFE Workload Endpoint §4 writes it.
 *
 * @returns the path of the socket
 * @throws Error for anything but a Unix socket by its absolute path
 */
export function parseEndpointSocket(address: string): string {
  const path = address.replace(/^unix:(\/\/(?=\/))?/, "");
  if (path.startsWith("/")) return path;
  throw new Error(`${JSON.stringify(address)} is not of the form unix:///PATH`);
}
