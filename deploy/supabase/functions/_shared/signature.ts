// Meta's signature, over the bytes as they came: Meta escapes what is not ASCII before it signs, so JSON that was parsed
// and written again has another signature. Comparisons are WebCrypto's, which takes the same time wherever bytes differ.

const HMAC = { name: "HMAC", hash: "SHA-256" };
const encoder = new TextEncoder();

function key(secret: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", secret, HMAC, false, ["sign", "verify"]);
}

/** Whether `header`, the value of X-Hub-Signature-256, is `secret`'s signature of `body`. */
export async function signed(
  secret: string,
  body: Uint8Array<ArrayBuffer>,
  header: string | null,
): Promise<boolean> {
  const hex = /^sha256=([0-9a-f]{64})$/i.exec(header ?? "")?.[1];
  if (hex === undefined) return false;
  const given = Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  return await crypto.subtle.verify("HMAC", await key(encoder.encode(secret)), given, body);
}

/** Whether two secrets are the same, without telling by time where they differ. */
export async function sameSecret(ours: string, given: string): Promise<boolean> {
  const once = await key(crypto.getRandomValues(new Uint8Array(32)));
  const mac = await crypto.subtle.sign("HMAC", once, encoder.encode(ours));
  return await crypto.subtle.verify("HMAC", once, mac, encoder.encode(given));
}
