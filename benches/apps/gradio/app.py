# A counter whose state Gradio keeps in the process.
import os

import gradio

with gradio.Blocks() as page:
    state = gradio.State(0)
    button = gradio.Button("count up")
    shown = gradio.Textbox(label="counted")
    button.click(lambda count: (count + 1, str(count + 1)), state, [state, shown])

page.launch(server_name="127.0.0.1", server_port=int(os.environ["PORT"]), quiet=True)
