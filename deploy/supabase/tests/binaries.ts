// The programs under test, of this repository's own build.

export const REPOSITORY = new URL("../../../", import.meta.url);

export function binary(name: string): string {
  const target = Deno.env.get("CARGO_TARGET_DIR") ?? new URL("target", REPOSITORY).pathname;
  const path = `${target}/${Deno.env.get("PROFILE") ?? "debug"}/${name}`;
  try {
    Deno.statSync(path);
  } catch {
    throw new Error(`${path} is missing: run \`cargo build --workspace --bins\` first`);
  }
  return path;
}
