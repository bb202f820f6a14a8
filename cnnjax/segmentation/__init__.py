"""Networks that classify pixels, one file per architecture, and how they are run."""

from cnnjax.segmentation._inference import Apply as Apply
from cnnjax.segmentation._inference import predict_multiscale as predict_multiscale
from cnnjax.segmentation._inference import predict_padded as predict_padded
from cnnjax.segmentation._inference import predict_sliding as predict_sliding
from cnnjax.segmentation._inference import predict_tiled as predict_tiled
from cnnjax.segmentation._segmenter import BackboneSegmenter as BackboneSegmenter
from cnnjax.segmentation._segmenter import DilatedSegmenter as DilatedSegmenter
from cnnjax.segmentation._segmenter import Segmenter as Segmenter
from cnnjax.segmentation.deeplabv3 import DeepLabV3 as DeepLabV3
from cnnjax.segmentation.deeplabv3plus import DeepLabV3Plus as DeepLabV3Plus
from cnnjax.segmentation.dilated_fcn import DilatedFCN as DilatedFCN
from cnnjax.segmentation.encoder_unet import EncoderUNet as EncoderUNet
from cnnjax.segmentation.fcn import FCN as FCN
from cnnjax.segmentation.unet import UNet as UNet
