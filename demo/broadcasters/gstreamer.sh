#!/bin/sh
# Sends a file, or a test picture and tone, into a room with GStreamer. See api.sh for the variables.
#
#   ROOM_ID=some demo/broadcasters/gstreamer.sh
#   ROOM_ID=some MEDIA_FILE=film.webm demo/broadcasters/gstreamer.sh

. "$(dirname "$0")/api.sh"
enter GStreamer
audio_way
video_way

if [ -n "$MEDIA_FILE" ]; then
  set -- filesrc location="$MEDIA_FILE" ! decodebin name=source
  audio_source=source. video_source=source.
else
  set --
  audio_source='audiotestsrc is-live=true freq=440'
  video_source='videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=25/1'
fi

# Its sources are words of the pipeline, which the shell is to split.
# shellcheck disable=SC2086
pipeline() {
  gst-launch-1.0 --quiet "$@" \
    rtpbin name=rtp \
    $audio_source ! queue ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 \
    ! opusenc bitrate=128000 ! rtpopuspay pt=100 ssrc=1111 ! rtp.send_rtp_sink_0 \
    rtp.send_rtp_src_0 ! udpsink host="$AUDIO_IP" port="$AUDIO_PORT" \
    rtp.send_rtcp_src_0 ! udpsink host="$AUDIO_IP" port="$AUDIO_RTCP_PORT" sync=false async=false \
    $video_source ! queue ! videoconvert \
    ! vp8enc target-bitrate=1000000 deadline=1 cpu-used=4 keyframe-max-dist=50 \
    ! rtpvp8pay pt=101 ssrc=2222 picture-id-mode=2 ! rtp.send_rtp_sink_1 \
    rtp.send_rtp_src_1 ! udpsink host="$VIDEO_IP" port="$VIDEO_PORT" \
    rtp.send_rtcp_src_1 ! udpsink host="$VIDEO_IP" port="$VIDEO_RTCP_PORT" sync=false async=false &
  SENDER=$!
  wait "$SENDER"
}

echo "$BROADCASTER_ID sends into $ROOM_ID"
while :; do
  pipeline "$@"
  # A file begins anew; without one, or if it cannot be played, there is nothing more to send.
  [ $? = 0 ] && [ -n "$MEDIA_FILE" ] || break
done
