# What the broadcasters have in common: their way into a room, over the HTTP API of the demo. Meant to be sourced.
#
#   SERVER_URL  where the demo is, e.g. https://localhost:4443 (the default); its certificate is not checked
#   ROOM_ID     a room in which somebody is
#   MEDIA_FILE  what to send, again and again; a test picture and tone if not given
#   TOKEN       the server's --broadcaster-token, if it has one

: "${SERVER_URL:=https://localhost:4443}"
: "${ROOM_ID:?is the room to broadcast into}"
SERVER_URL=${SERVER_URL%/}
BROADCASTER_ID=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
ROOM=$SERVER_URL/rooms/$ROOM_ID
BROADCASTER=$ROOM/broadcasters/$BROADCASTER_ID

# api METHOD URL [JSON]: prints the answer, or fails with it.
api() {
  [ -n "$3" ] || set -- "$1" "$2" '{}'
  curl --silent --show-error --fail-with-body --insecure --max-time 20 --request "$1" --data "$3" \
    --header 'Content-Type: application/json' ${TOKEN:+--header "Authorization: Bearer $TOKEN"} "$2" ||
    { echo >&2; echo "$1 $2 failed" >&2; return 1; }
}

# value KEY: the text or number under a key of the JSON on standard input.
value() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# enter DEVICE: becomes a broadcaster of the room, until this script ends.
enter() {
  curl --silent --fail --insecure --max-time 20 ${TOKEN:+--header "Authorization: Bearer $TOKEN"} "$ROOM" >/dev/null ||
    { echo "$ROOM: nobody is in this room, or there is no server" >&2; exit 1; }
  api POST "$ROOM/broadcasters" \
    '{"id":"'"$BROADCASTER_ID"'","displayName":"Broadcaster","device":{"name":"'"$1"'"}}' >/dev/null || exit 1
  trap leave EXIT
  trap 'exit 0' INT TERM HUP
}

leave() {
  [ -z "$SENDER" ] || kill "$SENDER" 2>/dev/null
  api DELETE "$BROADCASTER" >/dev/null
}

# way KIND CODEC: makes a transport and a producer on it, and sets IP, PORT and RTCP_PORT.
way() {
  answer=$(api POST "$BROADCASTER/transports" '{"type":"plain","comedia":true,"rtcpMux":false}') || exit 1
  IP=$(echo "$answer" | value ip) PORT=$(echo "$answer" | value port) RTCP_PORT=$(echo "$answer" | value rtcpPort)
  api POST "$BROADCASTER/transports/$(echo "$answer" | value id)/producers" \
    '{"kind":"'"$1"'","rtpParameters":{'"$2"'}}' >/dev/null || exit 1
}

# Payload types and SSRCs that the programs are told to use.
audio_way() {
  way audio '"codecs":[{"mimeType":"audio/opus","payloadType":100,"clockRate":48000,"channels":2,
    "parameters":{"sprop-stereo":1}}],"encodings":[{"ssrc":1111}]'
  AUDIO_IP=$IP AUDIO_PORT=$PORT AUDIO_RTCP_PORT=$RTCP_PORT
}

video_way() {
  way video '"codecs":[{"mimeType":"video/vp8","payloadType":101,"clockRate":90000}],"encodings":[{"ssrc":2222}]'
  VIDEO_IP=$IP VIDEO_PORT=$PORT VIDEO_RTCP_PORT=$RTCP_PORT
}

# send COMMAND...: runs it until it or this script ends.
send() {
  echo "$BROADCASTER_ID sends into $ROOM_ID"
  "$@" &
  SENDER=$!
  wait "$SENDER"
}
