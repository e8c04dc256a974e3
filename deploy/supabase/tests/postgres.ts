// A PostgreSQL cluster of the test's own: in a temporary folder, on a socket there, behind a TCP port of the operating
// system's choice. PostgreSQL will not run as root, so it gets another user when the test does.

import postgres from "postgres";

import { Gate } from "./gate.ts";
import { Process } from "./process.ts";

const MIGRATIONS = new URL("../migrations/", import.meta.url);
const BINARIES = "/usr/lib/postgresql";

export class Cluster {
  readonly gate = new Gate();

  private constructor(private readonly server: Process, private readonly folder: string) {
    this.open();
  }

  /** Undoes the gate's shutting. */
  open(): void {
    this.gate.lead({ transport: "unix", path: `${this.folder}/.s.PGSQL.5432` });
  }

  static async start(): Promise<Cluster> {
    const binaries = await newest();
    const user = Deno.uid() === 0 ? await idsOf("postgres") : {};
    const folder = await Deno.makeTempDir({ prefix: "voicebridge-pg-" });
    if (user.uid !== undefined) await Deno.chown(folder, user.uid, user.gid ?? null);
    const data = `${folder}/data`;
    const made = await new Deno.Command(`${binaries}/initdb`, {
      args: ["-D", data, "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
      cwd: folder,
      ...user,
    }).output();
    if (!made.success) throw new Error(`initdb failed\n${new TextDecoder().decode(made.stderr)}`);
    const settings = { listen_addresses: "", unix_socket_directories: folder, fsync: "off", max_connections: "50" };
    const server = new Process({
      name: "postgres",
      command: `${binaries}/postgres`,
      args: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
      cwd: folder,
      ...user,
    });
    await server.line("readiness", (line) => line.includes("ready to accept connections"));
    return new Cluster(server, folder);
  }

  /** A new database with the migrations in it. */
  async database(name: string): Promise<{ url: string; sql: postgres.Sql }> {
    const admin = this.#connect("postgres");
    await admin.unsafe(`create database ${name}`);
    await admin.end();
    const sql = this.#connect(name);
    const files = [...Deno.readDirSync(MIGRATIONS)].map((entry) => entry.name).sort();
    for (const file of files) await sql.unsafe(await Deno.readTextFile(new URL(file, MIGRATIONS)));
    return { url: this.#url(name), sql };
  }

  #url(name: string): string {
    return `postgres://test:secret-7f36@127.0.0.1:${this.gate.port}/${name}`;
  }

  #connect(name: string): postgres.Sql {
    return postgres(this.#url(name), { max: 2, onnotice: () => {} });
  }

  async stop(): Promise<void> {
    this.gate.stop();
    // Fast: connections are cut.
    await this.server.stop("SIGINT");
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function newest(): Promise<string> {
  const versions: number[] = [];
  try {
    for await (const entry of Deno.readDir(BINARIES)) versions.push(Number(entry.name));
  } catch {
    // None there.
  }
  if (versions.length === 0) throw new Error(`no PostgreSQL under ${BINARIES}: scripts/install-deps edge`);
  return `${BINARIES}/${Math.max(...versions)}/bin`;
}

async function idsOf(user: string): Promise<{ uid?: number; gid?: number }> {
  const id = async (flag: string) => {
    const { stdout, success } = await new Deno.Command("id", { args: [flag, user] }).output();
    if (!success) throw new Error(`there is no user ${user} to run PostgreSQL as`);
    return Number(new TextDecoder().decode(stdout));
  };
  return { uid: await id("-u"), gid: await id("-g") };
}
