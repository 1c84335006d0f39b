// Socket.IO 2 or 4.
import { serve } from "../lib/serve.mjs";

serve(process.env.KIND === "2" ? (await import("socket.io-v2")).default : (await import("socket.io")).Server);
