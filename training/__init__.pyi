from .driver import TrainingStimuli as TrainingStimuli
from .driver import prepare as prepare
from .driver import run_training as run_training
from .hardware import Hardware as Hardware
from .in_memory import train as train
from .runs import trained as trained
