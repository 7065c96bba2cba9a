"""The HTTP server layer: gunicorn's threaded worker, with an event loop that never waits.

The loop receives each request into bounded memory, has gunicorn's parser judge its head, and gives
a request to a thread only when all of it is there. The thread runs the application and writes what
the socket takes; the loop sends the rest of the response, closes connections and cuts off clients
that are too slow. So a slow client costs memory within a limit, and never a thread.

loop.py accepts connections and waits for them, worker.py handles their requests, and answering.py
is what a thread does. connection.py is one client's connection, buffers.py its input and output,
chunks.py finds the end of a chunked body, refusals.py has the answers of the server itself, and
log.py keeps what clients sent out of the log.
"""
