"""Training: one pure step, and the loop, checkpoints and logs around it."""

from cnnjax.train.checkpoint import Checkpointer as Checkpointer
from cnnjax.train.interrupts import Interrupted as Interrupted
from cnnjax.train.log import RunLog as RunLog
from cnnjax.train.log import read_metrics as read_metrics
from cnnjax.train.loop import fit as fit
from cnnjax.train.loop import run_eval as run_eval
from cnnjax.train.mixing import cutmix as cutmix
from cnnjax.train.mixing import mixup as mixup
from cnnjax.train.mixing import mixup_or_cutmix as mixup_or_cutmix
from cnnjax.train.optim import create_optimizer as create_optimizer
from cnnjax.train.optim import create_schedule as create_schedule
from cnnjax.train.runs import open_run as open_run
from cnnjax.train.runs import write_json as write_json
from cnnjax.train.state import TrainState as TrainState
from cnnjax.train.state import init_state as init_state
from cnnjax.train.step import eval_step as eval_step
from cnnjax.train.step import train_step as train_step
