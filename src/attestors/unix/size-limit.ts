/** Bytes. Larger executables are not hashed, unless the configuration says otherwise: reading one takes a second or two. */
export const DEFAULT_WORKLOAD_SIZE_LIMIT: number = 1024 * 1024 * 1024;
