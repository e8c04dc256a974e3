// A TCP port of the operating system's choice that leads to an address named later, and that can be shut: what is behind it
// is then away.

export type Target = Deno.ConnectOptions | Deno.UnixConnectOptions;

export class Gate {
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.Conn>();
  #target: Target | undefined;

  constructor() {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accept();
  }

  /** Leads there from now on. */
  lead(target: Target): void {
    this.#target = target;
  }

  /** Cuts what is connected and refuses what comes. */
  shut(): void {
    this.#target = undefined;
    for (const connection of this.#open) close(connection);
  }

  stop(): void {
    this.shut();
    this.#listener.close();
  }

  async #accept(): Promise<void> {
    for await (const from of this.#listener) this.#join(from);
  }

  async #join(from: Deno.Conn): Promise<void> {
    const target = this.#target;
    if (target === undefined) return close(from);
    try {
      const to = await ("path" in target ? Deno.connect(target) : Deno.connect(target));
      this.#open.add(from).add(to);
      await Promise.allSettled([from.readable.pipeTo(to.writable), to.readable.pipeTo(from.writable)]);
      this.#open.delete(from);
      this.#open.delete(to);
    } catch {
      close(from);
    }
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // Closed already.
  }
}
