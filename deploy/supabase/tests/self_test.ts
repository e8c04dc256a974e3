// The edge function holds the signalling.

import { scenarios } from "./scenarios.ts";

scenarios("self");
