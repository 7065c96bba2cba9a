#!/usr/bin/env bash
# Post an image, read the result and delete it:   URL=http://… KEY=emo_… examples/curl.sh photo.jpg
set -euo pipefail
url=${URL:-http://127.0.0.1:5000}
photo=${1:?usage: curl.sh IMAGE}

# Pass the API key in a configuration file, because other users can read command lines.
request() {
    curl --silent --show-error --fail-with-body \
        --config <(if [ -n "${KEY:-}" ]; then echo "header = \"Authorization: Bearer $KEY\""; fi) "$@"
}

# All retries have the same Idempotency-Key, so the service stores the image once.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
request --retry 5 --retry-connrefused --dump-header "$headers" \
    --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)" \
    --form "image=@$photo" --form threshold=0.2 "$url/v1/images"
image=$url$(sed -n 's/^location: *//ip' "$headers" | tr -d '\r')

echo "full result of $image:"
request "$image?view=full"
echo "with threshold 0.05:"
request "$image?threshold=0.05"
request --request DELETE "$image"
echo "deleted"
