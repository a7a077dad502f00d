#!/bin/sh
# Sends a file, or a test picture and tone, into a room with ffmpeg. See api.sh for the variables.
#
#   ROOM_ID=some demo/broadcasters/ffmpeg.sh
#   ROOM_ID=some MEDIA_FILE=film.webm demo/broadcasters/ffmpeg.sh

. "$(dirname "$0")/api.sh"
enter FFmpeg
audio_way
video_way

if [ -n "$MEDIA_FILE" ]; then
  set -- -re -stream_loop -1 -i "$MEDIA_FILE" -map 0:a:0 -map 0:v:0
else
  set -- -re -f lavfi -i "sine=frequency=440:sample_rate=48000" -re -f lavfi -i "testsrc2=size=640x360:rate=25" \
    -map 0:a:0 -map 1:v:0
fi
audio="[select=a:f=rtp:ssrc=1111:payload_type=100]rtp://$AUDIO_IP:$AUDIO_PORT?rtcpport=$AUDIO_RTCP_PORT"
video="[select=v:f=rtp:ssrc=2222:payload_type=101]rtp://$VIDEO_IP:$VIDEO_PORT?rtcpport=$VIDEO_RTCP_PORT"

# A key frame every two seconds: plain RTP from ffmpeg does not answer requests for one.
send ffmpeg -hide_banner -loglevel error -nostdin "$@" \
  -c:a libopus -b:a 128k -ac 2 -ar 48000 \
  -c:v libvpx -b:v 1000k -deadline realtime -cpu-used 4 -pix_fmt yuv420p -force_key_frames 'expr:gte(t,n_forced*2)' \
  -f tee "$audio|$video"
