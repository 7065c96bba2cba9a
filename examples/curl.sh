#!/usr/bin/env bash
# Post a picture, read the result, erase it:   URL=http://… KEY=emo_… examples/curl.sh photo.jpg
set -euo pipefail
url=${URL:-http://127.0.0.1:5000}
photo=${1:?which picture?}

# The key goes by a file of curl's and not by its arguments, which other users could read.
ask() {
    curl --silent --show-error --fail-with-body \
        --config <(if [ -n "${KEY:-}" ]; then echo "header = \"Authorization: Bearer $KEY\""; fi) "$@"
}

# The same key with each retry, and the picture is kept once, however often it was sent.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
ask --retry 5 --retry-connrefused --dump-header "$headers" \
    --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)" \
    --form "image=@$photo" --form threshold=0.2 "$url/v1/images"
image=$url$(sed -n 's/^location: *//ip' "$headers" | tr -d '\r')

echo "everything that is known of $image:"
ask "$image?view=full"
echo "with the threshold of .05 instead:"
ask "$image?threshold=0.05"
ask --request DELETE "$image"
echo "erased"
