"""The networks of the zoo: every classifier of torchvision, and timm's and Hugging Face's families."""

from dataclasses import replace

import timm
import torchvision

from tests.zoo.entry import Entry
from tests.zoo.hugging_face import CLASSIFIERS

TIMM = [
    *("vit_tiny_patch16_224", "vit_base_patch32_siglip_256", "vit_wee_patch16_reg1_gap_256", "flexivit_small"),
    *("repvgg_a0", "mobileone_s0", "gernet_s", "beit_base_patch16_224", "botnet26t_256", "halonet26t"),
    *("lambda_resnet26t", "poolformer_s12", "caformer_s18", "convformer_s18", "cait_xxs24_224", "coat_lite_tiny"),
    *("coat_tiny", "coatnet_nano_rw_224", "maxvit_pico_rw_256", "convit_tiny", "convmixer_768_32", "convnext_atto"),
    *("convnextv2_atto", "cpubone_nano", "crossvit_9_240", "cs3darknet_s", "darknet17", "csatv2", "cspnext_tiny"),
    *("davit_tiny", "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"),
    *("densenet121", "dla46_c", "nf_regnet_b0", "eca_nfnet_l0", "dpn48b", "ese_vovnet19b_slim_dw", "resnet10t"),
    *("resnet18", "seresnet50", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "efficientnet_b0"),
    *("mnasnet_small", "tinynet_e", "efficientvim_m1", "efficientvit_b0", "efficientvit_m0"),
    *("eva02_tiny_patch14_224", "vit_small_patch16_dinov3", "vit_small_patch16_rope_224", "fasternet_t0"),
    *("fastvit_t8", "lcnet_035", "mobilenetv3_small_050", "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium"),
    *("focalnet_tiny_srf", "gcvit_xxtiny", "gemma4_vit_167m", "ghostnet_050", "ghostnetv3_050", "mixer_s32_224"),
    *("resmlp_12_224", "gmlp_ti16_224", "hardcorenas_a", "hgnetv2_b0", "hiera_tiny_224", "hieradet_small"),
    *("hrnet_w18_small", "iformer_t", "inception_next_atto", "inception_resnet_v2", "inception_v3", "inception_v4"),
    *("lcnetv2_small", "legacy_seresnet18", "legacy_xception", "levit_128s", "levit_conv_128s", "lowformer_b0"),
    *("mambaout_femto", "mobilenetv5_300m", "mobilevit_xxs", "mobilevitv2_050", "mvitv2_tiny", "mvitv2_small_cls"),
    *("naflexvit_base_patch16_gap", "nasnetalarge", "nest_tiny", "nextvit_small", "pit_ti_224"),
    *("pit_ti_distilled_224", "pnasnet5large", "pvt_v2_b0", "qwen3_vit_88m", "rdnet_tiny", "regnetx_002"),
    *("regnety_002", "repghostnet_050", "repvit_m0_9", "res2net50_48w_2s", "resnest14d", "resnetv2_18"),
    *("resnetv2_50x1_bit", "rexnet_100", "samvit_base_patch16_224", "selecsls42b", "sequencer2d_s", "shvit_s1"),
    *("skresnet18", "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("swinv2_cr_tiny_224", "vit_relpos_small_patch16_224", "vit_relpos_base_patch16_clsgap_224", "tiny_vit_5m_224"),
    *("tnt_s_patch16_224", "tresnet_m", "twins_pcpvt_small", "twins_svt_small", "vgg11", "vgg11_bn"),
    *("visformer_tiny", "vit_tiny_r_s16_p8_224", "vitamin_small_224", "volo_d1_224", "xception41"),
    "xcit_nano_12_p16_224",
]

LOOPS = {
    *("edgenext_xx_small", "efficientvit_m0", "pvt_v2_b0", "xcit_nano_12_p16_224", "starnet_s050", "shvit_s1"),
    *("efficientformerv2_s0", "vit_tiny_patch16_224", "mambaout_femto", "resnet", "vit", "swin", "convnextv2"),
}
"""Small networks with few channels, which can be run hundreds of times."""

SQUARE = {"mobilenetv5_300m"}
"""Networks whose last maps have one size for all images, so their shape does not tell how oblong images are read."""


def entries() -> list[Entry]:
    """All networks, library by library. The first of each family is also shown images that are not square."""
    everything = [
        *map(timm_entry, TIMM),
        *map(torchvision_entry, torchvision.models.list_models(module=torchvision.models)),
        *(Entry("transformers", name.partition(",")[0], name, make) for name, make in CLASSIFIERS.items()),
    ]
    first = {(entry.library, entry.family): entry for entry in reversed(everything)}
    shown = {entry for entry in first.values() if entry.name not in SQUARE}
    return [replace(entry, oblong=entry in shown) for entry in everything]


def named(name: str) -> Entry:
    """A network by its name, in the list or any other of timm's."""
    return next((entry for entry in entries() if entry.name == name), None) or timm_entry(name)


def timm_entry(name: str) -> Entry:
    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    return Entry("timm", family, name, lambda: timm.create_model(name))


def torchvision_entry(name: str) -> Entry:
    family = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
    # GoogLeNet and Inception draw their weights in their own way, slowly, and warn if nobody says whether they should.
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return Entry("torchvision", family, name, lambda: torchvision.models.get_model(name, weights=None, **options))
