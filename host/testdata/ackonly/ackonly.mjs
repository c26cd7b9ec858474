// A plugin for measurements: every handler is done at once.
import { serve } from "../../../sdk/node/dist/src/index.js";

serve({ name: "ackonly", version: "1.0.0", categories: ["com.example.bench"], upstream() {} });
