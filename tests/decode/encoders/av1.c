// AV1 in three spatial and three temporal layers, by libaom. A frame of each spatial layer is one of the output.

#include <aom/aom_encoder.h>
#include <aom/aomcx.h>

#include "svc.h"

static void check(aom_codec_err_t result, const char *what) {
    if (result != AOM_CODEC_OK) die(what);
}

int main(int count, char **arguments) {
    struct task own = task(count, arguments);
    aom_codec_enc_cfg_t config;
    check(aom_codec_enc_config_default(aom_codec_av1_cx(), &config, AOM_USAGE_REALTIME), "no AV1 in libaom");
    config.g_w = own.width;
    config.g_h = own.height;
    config.g_timebase = (aom_rational_t){1, PICTURES_A_SECOND};
    config.g_threads = 1;
    config.g_lag_in_frames = 0;
    config.g_error_resilient = 0;
    config.g_pass = AOM_RC_ONE_PASS;
    config.rc_end_usage = AOM_CBR;
    config.rc_dropframe_thresh = 0;
    config.rc_min_quantizer = 10;
    config.rc_max_quantizer = 56;
    config.rc_buf_initial_sz = 600;
    config.rc_buf_optimal_sz = 600;
    config.rc_buf_sz = 1000;
    config.kf_mode = AOM_KF_DISABLED;
    aom_svc_params_t layers = {.number_spatial_layers = SPATIAL, .number_temporal_layers = TEMPORAL};
    for (int spatial = 0; spatial < SPATIAL; spatial++) {
        unsigned kbps = own.kbps[spatial];
        config.rc_target_bitrate += kbps;
        for (int temporal = 0; temporal < TEMPORAL; temporal++) {
            int layer = spatial * TEMPORAL + temporal;
            layers.layer_target_bitrate[layer] = (int)(kbps * (unsigned[TEMPORAL]){40, 60, 100}[temporal] / 100);
            layers.max_quantizers[layer] = (int)config.rc_max_quantizer;
            layers.min_quantizers[layer] = (int)config.rc_min_quantizer;
        }
        layers.scaling_factor_num[spatial] = 1;
        layers.scaling_factor_den[spatial] = 1 << (SPATIAL - 1 - spatial);
    }
    for (int temporal = 0; temporal < TEMPORAL; temporal++) layers.framerate_factor[temporal] = PERIOD >> temporal;

    aom_codec_ctx_t codec;
    check(aom_codec_enc_init(&codec, aom_codec_av1_cx(), &config, 0), "libaom takes no such settings");
    // What browsers set for calls: no state of the decoder but what references carry.
    check(aom_codec_control(&codec, AOME_SET_CPUUSED, 9), "speed");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_ORDER_HINT, 0), "order hints");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_TPL_MODEL, 0), "look-ahead");
    check(aom_codec_control(&codec, AV1E_SET_DELTAQ_MODE, 0), "quantizers in a frame");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_OBMC, 0), "overlapped motion");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_WARPED_MOTION, 0), "warped motion");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_GLOBAL_MOTION, 0), "global motion");
    check(aom_codec_control(&codec, AV1E_SET_ENABLE_REF_FRAME_MVS, 0), "motion of references");
    check(aom_codec_control(&codec, AV1E_SET_SVC_PARAMS, &layers), "layers");

    aom_image_t *image = aom_img_alloc(NULL, AOM_IMG_FMT_I420, own.width, own.height, 1);
    if (!image) die("no memory");
    size_t len = own.width * own.height * 3 / 2;
    write_header("AV01", &own);
    for (unsigned number = 0; fread(image->img_data, 1, len, stdin) == len; number++) {
        for (int spatial = 0; spatial < SPATIAL; spatial++) {
            struct frame frame_ = frame(&own, number, spatial);
            aom_svc_layer_id_t id = {.spatial_layer_id = spatial, .temporal_layer_id = (int)frame_.temporal};
            aom_svc_ref_frame_config_t references = {0};
            int last = frame_.earlier != NOTHING ? frame_.earlier : frame_.below;
            int golden = frame_.earlier != NOTHING ? frame_.below : NOTHING;
            if (last != NOTHING) {
                references.reference[0] = 1;
                references.ref_idx[0] = last;
            }
            if (golden != NOTHING) {
                references.reference[3] = 1;
                references.ref_idx[3] = golden;
            }
            if (frame_.kept != NOTHING) references.refresh[frame_.kept] = 1;
            check(aom_codec_control(&codec, AV1E_SET_SVC_LAYER_ID, &id), "ids of layers");
            check(aom_codec_control(&codec, AV1E_SET_SVC_REF_FRAME_CONFIG, &references), "references");
            aom_enc_frame_flags_t flags = number % own.group == 0 && spatial == 0 ? AOM_EFLAG_FORCE_KF : 0;
            check(aom_codec_encode(&codec, image, number, 1, flags), "a picture could not be coded");
            int frames = 0;
            aom_codec_iter_t at = NULL;
            for (const aom_codec_cx_pkt_t *packet; (packet = aom_codec_get_cx_data(&codec, &at));) {
                if (packet->kind != AOM_CODEC_CX_FRAME_PKT) continue;
                frames++;
                write_frame(packet->data.frame.buf, packet->data.frame.sz, number);
            }
            if (frames != 1) die("a picture lacks a layer");
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
