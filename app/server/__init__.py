"""HTTP server: gunicorn's threaded worker with an event loop that never blocks on a client.

The loop receives each request into bounded memory and lets gunicorn's parser check its head. It
passes the request to a thread when the whole body has arrived. The thread runs the application and
writes as much of the response as the socket accepts. The loop sends the rest, closes connections
and disconnects clients that are too slow. A slow client therefore uses a limited amount of memory,
and it occupies a thread only while it reads a stream: app.api.streams limits the number of streams.

- loop.py: the event loop, which accepts connections and watches their sockets
- worker.py: the steps of a request in the loop, and the limits on time and memory
- answering.py: runs the application for a request, in a thread
- connection.py: the connection of a client and the state of its current request
- buffers.py: buffers of received and of unsent bytes
- chunks.py: finds the end of a chunked body
- refusals.py: error responses of the server itself
- log.py: log records without client data
- system.py: calls of the operating system and the C library
"""
