// What other servers are compared with.
import { Server } from "socket.io";

import { serve } from "./serve.mjs";

serve(Server);
