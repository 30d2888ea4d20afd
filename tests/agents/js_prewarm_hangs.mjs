import { defineAgent } from '@livekit/agents';

function loadModel() {
  for (;;);
}

export default defineAgent({
  prewarm: () => {
    console.log('loading the model');
    loadModel();
  },
  entry: async () => {},
});
