declare module "systemd-notify" {
  /** Runs the program `systemd-notify`; rejects when it is missing or fails. */
  export default function notify(message: {
    readonly ready?: boolean;
    readonly status?: string;
    readonly pid?: number;
  }): Promise<unknown>;
}
