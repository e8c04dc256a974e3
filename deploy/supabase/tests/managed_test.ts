// The control plane holds the signalling.

import { scenarios } from "./scenarios.ts";

scenarios("managed");
