// An app without Socket.IO.
require("node:http").createServer((_request, response) => response.end("a")).listen(3000);
