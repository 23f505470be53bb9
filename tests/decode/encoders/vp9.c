// VP9 in three spatial and three temporal layers, by libvpx. A frame of each spatial layer is one of the output.

#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#include "svc.h"

struct output {
    const struct task *task;
    unsigned number;
    int frames;
};

static void check(vpx_codec_err_t result, const char *what) {
    if (result != VPX_CODEC_OK) die(what);
}

// Called for each spatial layer's frame; without it they would come as one.
static void take(vpx_codec_cx_pkt_t *packet, void *data) {
    struct output *output = data;
    if (packet->kind != VPX_CODEC_CX_FRAME_PKT) return;
    output->frames++;
    write_frame(packet->data.frame.buf, packet->data.frame.sz, output->number);
}

int main(int count, char **arguments) {
    struct task own = task(count, arguments);
    struct output output = {.task = &own};
    vpx_codec_enc_cfg_t config;
    check(vpx_codec_enc_config_default(vpx_codec_vp9_cx(), &config, 0), "no VP9 in libvpx");
    config.g_w = own.width;
    config.g_h = own.height;
    config.g_timebase = (vpx_rational_t){1, PICTURES_A_SECOND};
    config.g_threads = 1;
    config.g_lag_in_frames = 0;
    config.g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
    config.g_pass = VPX_RC_ONE_PASS;
    config.rc_end_usage = VPX_CBR;
    config.rc_dropframe_thresh = 0;
    config.rc_resize_allowed = 0;
    config.rc_min_quantizer = 4;
    config.rc_max_quantizer = 56;
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = 600;
    config.rc_buf_sz = 1000;
    config.kf_mode = VPX_KF_DISABLED;
    config.ss_number_layers = SPATIAL;
    config.ts_number_layers = TEMPORAL;
    config.temporal_layering_mode = VP9E_TEMPORAL_LAYERING_MODE_BYPASS;
    vpx_svc_extra_cfg_t layers = {0};
    for (int spatial = 0; spatial < SPATIAL; spatial++) {
        unsigned kbps = own.kbps[spatial];
        config.rc_target_bitrate += kbps;
        config.ss_target_bitrate[spatial] = kbps;
        for (int temporal = 0; temporal < TEMPORAL; temporal++) {
            int layer = spatial * TEMPORAL + temporal;
            config.layer_target_bitrate[layer] = kbps * (unsigned[TEMPORAL]){40, 60, 100}[temporal] / 100;
            layers.max_quantizers[layer] = (int)config.rc_max_quantizer;
            layers.min_quantizers[layer] = (int)config.rc_min_quantizer;
        }
        layers.scaling_factor_num[spatial] = 1;
        layers.scaling_factor_den[spatial] = 1 << (SPATIAL - 1 - spatial);
    }
    for (int temporal = 0; temporal < TEMPORAL; temporal++) {
        config.ts_rate_decimator[temporal] = PERIOD >> temporal;
    }

    vpx_codec_ctx_t codec;
    check(vpx_codec_enc_init(&codec, vpx_codec_vp9_cx(), &config, 0), "libvpx takes no such settings");
    // The slowest of those for calls would be slow here, too.
    check(vpx_codec_control(&codec, VP8E_SET_CPUUSED, 8), "speed");
    check(vpx_codec_control(&codec, VP9E_SET_SVC, 1), "layers");
    check(vpx_codec_control(&codec, VP9E_SET_SVC_PARAMETERS, &layers), "sizes of layers");
    // On in key pictures only, or on.
    check(vpx_codec_control(&codec, VP9E_SET_SVC_INTER_LAYER_PRED, own.full ? 0 : 2), "prediction between layers");
    vpx_codec_priv_output_cx_pkt_cb_pair_t callback = {take, &output};
    check(vpx_codec_control(&codec, VP9E_REGISTER_CX_CALLBACK, &callback), "a call for each frame");

    vpx_image_t *image = vpx_img_alloc(NULL, VPX_IMG_FMT_I420, own.width, own.height, 1);
    if (!image) die("no memory");
    size_t len = own.width * own.height * 3 / 2;
    write_header("VP90", &own);
    for (; fread(image->img_data, 1, len, stdin) == len; output.number++) {
        vpx_svc_layer_id_t id = {0};
        vpx_svc_ref_frame_config_t references = {0};
        for (int spatial = 0; spatial < SPATIAL; spatial++) {
            struct frame frame_ = frame(&own, output.number, spatial);
            id.temporal_layer_id = (int)frame_.temporal;
            id.temporal_layer_id_per_spatial[spatial] = (int)frame_.temporal;
            int last = frame_.earlier != NOTHING ? frame_.earlier : frame_.below;
            int golden = frame_.earlier != NOTHING ? frame_.below : NOTHING;
            if (last != NOTHING) {
                references.reference_last[spatial] = 1;
                references.lst_fb_idx[spatial] = last;
            }
            if (golden != NOTHING) {
                references.reference_golden[spatial] = 1;
                references.gld_fb_idx[spatial] = golden;
            }
            if (frame_.kept != NOTHING) references.update_buffer_slot[spatial] = 1 << frame_.kept;
        }
        check(vpx_codec_control(&codec, VP9E_SET_SVC_LAYER_ID, &id), "ids of layers");
        check(vpx_codec_control(&codec, VP9E_SET_SVC_REF_FRAME_CONFIG, &references), "references");
        output.frames = 0;
        vpx_enc_frame_flags_t flags = output.number % own.group == 0 ? VPX_EFLAG_FORCE_KF : 0;
        check(vpx_codec_encode(&codec, image, output.number, 1, flags, VPX_DL_REALTIME), "a picture could not be coded");
        if (output.frames != SPATIAL) die("a picture lacks a layer");
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
