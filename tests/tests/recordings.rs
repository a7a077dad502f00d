//! Every recorded conversation, held again with the worker. `FULL_DIFF=1` shows differences in full.

use tests::suite::check;

macro_rules! recordings {
    ($($test:ident $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_recording_has_a_test() {
            assert_eq!(tests::recording::names().unwrap(), [$($name),*]);
        }
    };
}

recordings! {
    r01_process_start "01-process-start";
    r02_process_options "02-process-options";
    r03_process_dtls_files "03-process-dtls-files";
    r04_process_exit "04-process-exit";
    r05_channel_framing "05-channel-framing";
    r06_payload_framing "06-payload-framing";
    r07_lookup_errors "07-lookup-errors";
    r08_worker_methods "08-worker-methods";
    r09_logs "09-logs";
    r10_webrtc_server "10-webrtc-server";
    r11_webrtc_transport_create "11-webrtc-transport-create";
    r12_webrtc_transport_connect "12-webrtc-transport-connect";
    r13_webrtc_ice "13-webrtc-ice";
    r14_plain_transport_create "14-plain-transport-create";
    r15_plain_transport_connect "15-plain-transport-connect";
    r16_pipe_transport "16-pipe-transport";
    r17_direct_transport "17-direct-transport";
    r20_produce_accepted "20-produce-accepted";
    r21_produce_rejected "21-produce-rejected";
    r22_consume_accepted "22-consume-accepted";
    r23_consume_rejected "23-consume-rejected";
    r24_consumer_methods "24-consumer-methods";
    r25_observers_control "25-observers-control";
    r26_data_control "26-data-control";
    r27_close_cascades "27-close-cascades";
    r30_comedia "30-comedia";
    r31_flow_opus "31-flow-opus";
    r32_flow_vp8_simulcast "32-flow-vp8-simulcast";
    r33_simulcast_inactivity "33-simulcast-inactivity";
    r34_flow_nack_rtx "34-flow-nack-rtx";
    r35_fir_and_delay "35-fir-and-delay";
    r36_flow_vp9_svc "36-flow-vp9-svc";
    r37_video_orientation "37-video-orientation";
    r38_rtp_malformed "38-rtp-malformed";
    r39_mid_inheritance "39-mid-inheritance";
    r40_direct_rtp "40-direct-rtp";
    r41_direct_data "41-direct-data";
    r42_audio_level_observer "42-audio-level-observer";
    r43_active_speaker_observer "43-active-speaker-observer";
    r44_flow_pipe "44-flow-pipe";
    r45_flow_pipe_rtx_srtp "45-flow-pipe-rtx-srtp";
    r46_sctp_data "46-sctp-data";
    r47_sctp_failure "47-sctp-failure";
    r48_srtp "48-srtp";
    r49_bandwidth "49-bandwidth";
    r50_webrtc_dtls "50-webrtc-dtls";
    r51_late_consumers "51-late-consumers";
    r52_rid_demux "52-rid-demux";
    r60_node_client "60-node-client";
}
