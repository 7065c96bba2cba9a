"""The HTTP server layer: gunicorn's threaded worker, with an event loop that never waits.

The loop receives each request into bounded memory and lets gunicorn's parser check its head. It
passes the request to a thread when the whole body has arrived. The thread runs the application and
writes as much of the response as the socket takes. The loop sends the rest, closes connections and
cuts off clients that are too slow. A slow client therefore uses a limited amount of memory. It
holds a thread only while it reads a stream: app.api.streams limits the number of streams.

- loop.py: the event loop, which accepts connections and waits for them
- worker.py: the steps of a request in the loop, and the limits on time and memory
- answering.py: what a thread does for a request
- connection.py: one client's connection
- buffers.py: received bytes that are not read yet, and bytes that are not sent yet
- chunks.py: finds the end of a chunked body
- refusals.py: the error responses of the server itself
- log.py: log records without anything that clients sent
- system.py: calls of the operating system and the C library
"""
